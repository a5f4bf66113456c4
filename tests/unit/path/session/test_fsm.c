/* The table of states: nothing unreachable, nothing shadowed, and it prints. */
#include "test.h"

#include "pgshunt/session.h"

TEST(fsm, table_has_no_faults)
{
	struct buf out = { 0 };
	size_t faults = session_fsm_check(&out);

	if (faults)
		printf("%s", buf_cstr(&out));
	buf_free(&out);
	CHECK_INT(faults, 0);
}

TEST(fsm, table_prints_a_line_an_edge)
{
	struct buf out = { 0 };
	size_t lines = 0, words = 1;
	const char *text;

	session_fsm_print(&out);
	text = buf_cstr(&out);
	CHECK(strstr(text, "START C_STARTUP ALWAYS begin_login AUTH\n") != NULL);
	CHECK(strstr(text, "ANY C_TERMINATE ALWAYS close_quietly CLOSED\n") != NULL);
	for (const char *c = text; *c; c++) {
		words += *c == ' ';
		if (*c == '\n') {
			CHECK_INT(words, 5);
			words = 1;
			lines++;
		}
	}
	buf_free(&out);
	CHECK(lines > 50);
}

/* Nobody may be stuck: what ends a session is heard in every state. */
TEST(fsm, every_state_can_end)
{
	struct buf out = { 0 };
	const char *text;

	session_fsm_print(&out);
	text = buf_cstr(&out);
	CHECK(strstr(text, "ANY C_VIOLATION ALWAYS close_with_error CLOSED\n") != NULL);
	CHECK(strstr(text, "ANY K_KILL ALWAYS close_with_error CLOSED\n") != NULL);
	buf_free(&out);
}
