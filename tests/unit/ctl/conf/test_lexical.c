/* The file format, case 40: as PgBouncer reads it. */
#include "conf_test.h"

#define MAIN "[pgshunt]\nconsistency = eventual\nauth_file = u\n"

TEST(lexical, keys_values_and_blanks_around)
{
	load("[pgshunt]\nlisten_port=7000\nauth_file =   a b  \n\tconsistency\t=\teventual\t\n" A_NODE);
	CHECK_QUIET();
	CHECK_INT(conf->opt.listen_port, 7000);
	CHECK_STR(conf->opt.auth_file, "a b");
	CHECK_INT(conf->policy.consistency, CONS_EVENTUAL);
}

TEST(lexical, comments_only_at_the_start_of_a_line)
{
	load(MAIN "; listen_port = 1\n# listen_port = 2\n   ;listen_port = 3\n\t# listen_port = 4\nlogfile = a ; b # c\n" A_NODE);
	CHECK_QUIET();
	CHECK_INT(conf->opt.listen_port, 6432);
	CHECK_STR(conf->opt.logfile, "a ; b # c");
}

TEST(lexical, semicolon_in_a_password)
{
	load(MAIN "monitor_password = se ;cret\n[databases]\napp = password='p ;w' user=u\n" A_NODE);
	CHECK_QUIET();
	CHECK_STR(conf->opt.monitor_password, "se ;cret");
	CHECK_STR(conf->databases[0].password, "p ;w");
}

TEST(lexical, indented_keys_are_keys)
{
	load("[pgshunt]\n  auth_file = u\n    consistency = eventual\n\tlisten_port = 7001\n" A_NODE);
	CHECK_QUIET();
	CHECK_STR(conf->opt.auth_file, "u");
	CHECK_INT(conf->opt.listen_port, 7001);
}

TEST(lexical, crlf)
{
	load("[pgshunt]\r\nauth_file = u\r\nconsistency = eventual\r\n\r\n; c\r\n[nodes]\r\npg1 = host=h port=1\r\n");
	CHECK_QUIET();
	CHECK_STR(conf->opt.auth_file, "u");
	CHECK_INT(conf->nodes[0].port, 1);
}

TEST(lexical, byte_order_mark)
{
	load("\xef\xbb\xbf" MAIN A_NODE);
	CHECK_QUIET();
}

TEST(lexical, byte_order_mark_only_at_the_start)
{
	load(MAIN "\xef\xbb\xbf" "listen_port = 1\n" A_NODE);
	CHECK_ONE_ERROR("syntax error");
	CHECK_INT(report.findings[0].line, 4);
}

TEST(lexical, no_final_newline)
{
	load(A_NODE "[pgshunt]\nauth_file = u\nconsistency = eventual");
	CHECK_QUIET();
	CHECK_INT(conf->policy.consistency, CONS_EVENTUAL);
}

TEST(lexical, line_of_10_kb)
{
	char *value = mem_alloc(10241), *text;

	memset(value, 'x', 10240);
	value[5000] = ' ';
	value[5001] = ';';
	text = mem_printf(MAIN "admin_users = %s\nlisten_port = 7002\n" A_NODE, value);
	load(text);
	mem_free(text);
	CHECK_QUIET();
	CHECK_STR(conf->opt.admin_users, value);
	CHECK_INT(conf->opt.listen_port, 7002);
	mem_free(value);
}

TEST(lexical, long_row_of_a_list)
{
	char *value = mem_alloc(9001), *text;

	memset(value, 'y', 9000);
	text = mem_printf(MAIN "[databases]\napp = user=u password='%s' dbname=d\n" A_NODE, value);
	load(text);
	mem_free(text);
	CHECK_QUIET();
	CHECK_STR(conf->databases[0].password, value);
	CHECK_STR(conf->databases[0].dbname, "d");
	mem_free(value);
}

TEST(lexical, long_names)
{
	char *name = mem_alloc(301), *text;

	memset(name, 'n', 300);
	text = mem_printf(MAIN "[databases]\n%s = dbname=d\n" A_NODE, name);
	load(text);
	mem_free(text);
	CHECK_QUIET();
	CHECK_STR(conf->databases[0].name, name);
	mem_free(name);
}

TEST(lexical, quoted_names)
{
	load(MAIN "[databases]\n\"my db\" = dbname=a\n  \"q\"\"x\" = dbname=b\n\"a:b=c;d\"=dbname=c\n" A_NODE);
	CHECK_QUIET();
	CHECK_STR(conf->databases[0].name, "my db");
	CHECK_STR(conf->databases[1].name, "q\"x");
	CHECK_STR(conf->databases[2].name, "a:b=c;d");
}

TEST(lexical, quote_not_closed)
{
	load(MAIN "[databases]\n\"my db = dbname=a\nb = dbname=c\n" A_NODE);
	CHECK_ONE_ERROR("syntax error");
	CHECK_INT(report.findings[0].line, 5);
}

TEST(lexical, colon_is_no_equals_sign)
{
	load(MAIN "listen_port : 7000\n" A_NODE);
	CHECK_ONE_ERROR("syntax error");
}

TEST(lexical, colon_in_a_value)
{
	load(MAIN "logfile = a:b=c\n" A_NODE);
	CHECK_QUIET();
	CHECK_STR(conf->opt.logfile, "a:b=c");
}

TEST(lexical, bracket_in_a_value)
{
	load(MAIN "logfile = [nodes]\n" A_NODE);
	CHECK_QUIET();
	CHECK_STR(conf->opt.logfile, "[nodes]");
}

TEST(lexical, key_behind_its_section)
{
	load("[pgshunt] listen_port = 7003\nconsistency=eventual\nauth_file=u\n[nodes] ; comment\npg1 = host=h\n");
	CHECK_QUIET();
	CHECK_INT(conf->opt.listen_port, 7003);
}

TEST(lexical, section_without_bracket)
{
	load(MAIN A_NODE "[users\na = pool_size=3\n");
	CHECK(!conf);
	CHECK_INT(line_of("section without ]"), 6);
}

TEST(lexical, key_before_any_section)
{
	load("listen_port = 1\n" MAIN A_NODE);
	CHECK_ONE_ERROR("listen_port stands before any [section]");
	CHECK_INT(report.findings[0].line, 1);
}

TEST(lexical, unknown_section_with_nearest)
{
	load(MAIN A_NODE "[database]\napp = foo=bar\n");
	CHECK_ONE_ERROR("unknown section \"database\", did you mean databases?");
	CHECK_INT(report.findings[0].line, 6);
}

TEST(lexical, pgbouncer_section)
{
	load("[pgbouncer]\nlisten_port = 7004\nauth_file=u\nconsistency=eventual\n" A_NODE);
	CHECK_QUIET();
	CHECK_INT(conf->opt.listen_port, 7004);
}

TEST(lexical, sections_in_any_order_and_twice)
{
	load("[nodes]\npg1=host=a\n" MAIN "[nodes]\npg2=host=b\n[pgshunt]\nlisten_port=7005\n");
	CHECK_QUIET();
	CHECK_INT(conf->node_count, 2);
	CHECK_INT(conf->opt.listen_port, 7005);
}

TEST(lexical, nul_byte)
{
	static const char text[] = MAIN A_NODE "\0listen_port = 1\n";

	load_bytes(text, sizeof(text) - 1);
	CHECK_ONE_ERROR("NUL byte");
}

TEST(lexical, empty_file)
{
	load("");
	CHECK_ONE_ERROR("no nodes");
}

TEST(lexical, missing_file)
{
	conf_test_forget();
	conf = conf_load("/nonexistent/x.ini", &report);
	CHECK(!conf);
	CHECK_INT(findings(CONF_ERROR, "No such file"), 1);
	CHECK_STR(report.findings[0].file, "/nonexistent/x.ini");
}

TEST(lexical, directory)
{
	conf_test_forget();
	conf = conf_load("/", &report);
	CHECK(!conf);
	CHECK_INT(findings(CONF_ERROR, "Is a directory"), 1);
}

TEST(lexical, lines_are_counted_in_every_way_of_ending)
{
	load(MAIN "\n; c\n[nodes]\n\npg1 = host=a\n\r\n\t\n[pgshunt]\nnope = 1\n");
	CHECK_ONE_ERROR("unknown key \"nope\"");
	CHECK_INT(report.findings[0].line, 12);
}

static char *include_of(const char *path)
{
	return mem_printf(MAIN "%%include %s  \nlisten_port = 7006\n" A_NODE, path);
}

TEST(lexical, include)
{
	static const char inner[] = "logfile = inner\n[users]\nann = pool_size=3\n[pgshunt]";
	char path[] = "/tmp/conf_test.XXXXXX", *text;

	write_file(path, inner, strlen(inner));
	text = include_of(path);
	load(text);
	mem_free(text);
	unlink(path);
	CHECK_QUIET();
	CHECK_STR(conf->opt.logfile, "inner");
	CHECK_INT(conf->users[0].pool_size, 3);
	CHECK_INT(conf->opt.listen_port, 7006);
}

TEST(lexical, error_in_an_included_file_names_it)
{
	char path[] = "/tmp/conf_test.XXXXXX", *text;

	write_file(path, "\nlogfil = inner\n", strlen("\nlogfil = inner\n"));
	text = include_of(path);
	load(text);
	mem_free(text);
	unlink(path);
	CHECK_ONE_ERROR("unknown key \"logfil\", did you mean logfile?");
	CHECK_INT(report.findings[0].line, 2);
	CHECK_STR(report.findings[0].file, path);
}

TEST(lexical, include_that_is_not_there)
{
	load(MAIN "%include /nonexistent.ini\n" A_NODE);
	CHECK_ONE_ERROR("cannot read \"/nonexistent.ini\"");
	CHECK_INT(report.findings[0].line, 4);
}

TEST(lexical, include_of_itself_ends)
{
	char path[] = "/tmp/conf_test.XXXXXX", text[200];

	write_file(path, "", 0);
	snprintf(text, sizeof(text), "%%include %s\n%%include %s\n%%include %s\n", path, path, path);
	FILE *file = fopen(path, "w");
	CHECK(file);
	fputs(text, file);
	fclose(file);
	conf_test_forget();
	conf = conf_load(path, &report);
	unlink(path);
	CHECK(!conf);
	CHECK_INT(findings(CONF_ERROR, "nested too deeply"), 1);
}

TEST(lexical, garbage_is_bounded)
{
	char *text = mem_alloc(100001);

	for (int i = 0; i < 100000; i += 2)
		memcpy(text + i, "?\n", 2);
	load(text);
	mem_free(text);
	CHECK(!conf);
	CHECK(report.count <= 1000);
}
