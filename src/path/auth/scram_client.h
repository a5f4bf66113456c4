/* scram_client.h - SCRAM as the client of our servers (private to auth). */
#ifndef AUTH_SCRAM_CLIENT_H
#define AUTH_SCRAM_CLIENT_H

#include "scram.h"

struct scram_client {
	struct scram_binding binding;   /* of the server's certificate, where there is TLS */
	bool is_plus;
	bool is_derived;                /* keys were computed from the text, not found */
	bool is_proved;                 /* the server has shown that it knows the password */
	const char *gs2;
	struct scram_salt salt;         /* the server's */
	struct scram_keys keys;
	struct buf nonce;
	struct buf message;             /* AuthMessage as it grows */
};

void scram_client_clear(struct scram_client *s);
void scram_client_first(struct scram_client *s, bool is_plus, struct buf *out);
/* server-first -> client-final */
bool scram_client_continue(struct scram_client *s, const char *user, const struct auth_secret *secret, struct span text,
                           struct buf *out, struct err *err);
/* server-final: is the server who it must be? */
bool scram_client_final(struct scram_client *s, const struct auth_secret *secret, struct span text, struct err *err);
/* Puts keys, salt and iterations beside the secret's text. */
void scram_client_keep(const struct scram_client *s, struct auth_secret *out);

#endif
