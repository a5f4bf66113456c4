/* scram_server.h - SCRAM as our clients' server (private to auth). */
#ifndef AUTH_SCRAM_SERVER_H
#define AUTH_SCRAM_SERVER_H

#include "scram.h"

struct scram_server {
	struct scram_binding binding;   /* PLUS is offered when there is one */
	bool is_plus;                   /* the client chose it */
	bool is_mock;                   /* nothing can be proved: unknown user, or a secret that SCRAM can't use */
	bool has_keys;                  /* else derived from the text when the proof comes */
	struct scram_salt salt;
	struct scram_keys keys;         /* .client: once the client has proved it */
	struct buf gs2, nonce;          /* nonce: the client's and ours */
	struct buf message;             /* AuthMessage as it grows */
};

/* What the proof will be measured against; decides is_mock. */
void scram_server_init(struct scram_server *s, const char *user, const struct auth_secret *secret);
void scram_server_clear(struct scram_server *s);

/* SASLInitialResponse's mechanism; false: not offered. */
bool scram_server_choose(struct scram_server *s, struct span mechanism);
/* client-first -> server-first appended to reply; false: err */
bool scram_server_first(struct scram_server *s, struct span text, struct buf *reply, struct err *err);
/* client-final -> server-final appended to reply. False with err: malformed; false without: wrong proof. */
bool scram_server_final(struct scram_server *s, const struct auth_secret *secret, struct span text, struct buf *reply, struct err *err);

#endif
