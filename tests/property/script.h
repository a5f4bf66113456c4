/* script.h - a session as text: what the generator writes, the runner sends, people read and replay.
 *
 *   user=app options=-c\swork_mem=5MB      first line: start-up parameters
 *   --                                     before each step
 *   Q text                                 simple query; the rest of the line
 *   P name types text                      Parse; "-" is the unnamed one, or no types; types: 23,0
 *   B portal name formats value...         Bind; formats of the results: - (none given), 0, 1, 01 ...; a value: text, \N (NULL), x00ff (binary)
 *   D S|P name      C S|P name             Describe, Close
 *   E portal rows                          Execute; 0 = all
 *   S   H                                  Sync; Flush
 *   W                                      wait here for the answers to what was sent since the last wait, then go on
 *   d text   c   f text                    CopyData, CopyDone, CopyFail
 *   F oid value...                         FunctionCall
 *   X user=app ...                         alone in its step: the client leaves, another comes, with these start-up parameters
 *
 * In all of them: \n \t \s (blank) \\ \xHH; @@ is the number of the job (each has a schema of its own), @K a number of this run. A step's
 * messages are sent at once up to its W or end; then all its answers are awaited, so that a step must end with Q, F or S (or c after them). */
#ifndef PROPERTY_SCRIPT_H
#define PROPERTY_SCRIPT_H

#include "pgshunt/base.h"

#define STEP_PARTS_MAX 8

/* What is sent without waiting, and how one knows that it has been answered. */
struct part {
	size_t end;                     /* where its bytes end in step.bytes */
	unsigned ready;                 /* ReadyForQuery due since the step began */
	unsigned answers;               /* without Sync: answers due since the last Sync; 0 otherwise */
};

struct step {
	struct buf bytes;
	struct part parts[STEP_PARTS_MAX];
	size_t part_count;
};

struct names {
	unsigned job;                   /* @@ */
	unsigned run;                   /* @K */
};

/* False when the text is not a step as above (why: a text). step is the caller's to free, whatever is returned. */
bool step_encode(struct step *step, const char *text, const struct names *names, const char **why);
void step_free(struct step *step);
/* A start-up packet from the first line, for this database. */
bool startup_encode(struct buf *out, const char *line, const char *database, const struct names *names);

struct script {
	char *startup;
	char **steps;
	size_t count;
};
void script_add(struct script *script, const char *step);
void script_copy(struct script *to, const struct script *from);
void script_free(struct script *script);
void script_print(const struct script *script, struct buf *out);
bool script_read(struct script *script, const char *path);

#endif
