/* PostgreSQL's lexical rules. Each row: a text, and its tokens as "kind:text" joined by blanks. */
#include "../../../../src/path/sql/lexer.h"
#include "test.h"

static const char *const kinds[] = { "end", "w", "q", "uq", "i", "f", "s", "us", "n", "b", "x", "p", "o", "c", "error" };

static void describe(const char *text, size_t len, struct buf *out)
{
	struct lexer lx = { text, text + len };
	struct token t;

	while (lex_next(&lx, &t) != LEX_END) {
		buf_printf(out, "%s%s:%.*s%s%s", out->len ? " " : "", kinds[t.kind], (int)(t.end - t.at), t.at, t.is_dated ? "!" : "",
		           t.is_opaque ? "?" : "");
		if (t.kind == LEX_ERROR)
			break;
	}
}

/* The text is copied to a block of its size, so that a sanitizer sees a read behind it. */
static void check_rows(const char *const (*rows)[2], size_t count)
{
	for (size_t i = 0; i < count; i++) {
		size_t len = strlen(rows[i][0]);
		char *copy = mem_alloc(len + 1);
		struct buf out = { 0 };
		memcpy(copy + 1, rows[i][0], len);
		describe(copy + 1, len, &out);
		CHECK_STR(buf_cstr(&out), rows[i][1]);
		buf_free(&out);
		mem_free(copy);
	}
}

TEST(lexer, words_and_identifiers)
{
	static const char *const rows[][2] = {
		{ "", "" }, { "  \t\r\n\f", "" },
		{ "select A_1$ from_ _x", "w:select w:A_1$ w:from_ w:_x" },
		{ "f\xc3\xbcr \xe5\x90\x8d", "w:f\xc3\xbcr w:\xe5\x90\x8d" },
		{ "\"a\" \"a\"\"b\" \"\"", "q:\"a\" q:\"a\"\"b\" q:\"\"" },
		{ "\"a\"\"b\"\"c\"x", "q:\"a\"\"b\"\"c\" w:x" },
		{ "u&\"a\" U&\"b\" u &\"c\" u&x", "uq:u&\"a\" uq:U&\"b\" w:u o:& q:\"c\" w:u o:& w:x" },
		{ "a.b . c..d", "w:a c:. w:b c:. w:c o:.. w:d" },
		{ "e b x n u eb'x'", "w:e w:b w:x w:n w:u w:eb s:'x'" },
		{ "\"open", "error:\"open" }, { "a\vb", "w:a error:\vb" }, { "a {", "w:a error:{" }, { "\\d", "error:\\d" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, comments)
{
	static const char *const rows[][2] = {
		{ "a -- b\nc", "w:a w:c" }, { "a--b\rc", "w:a w:c" }, { "--", "" }, { "a --", "w:a" },
		{ "/**/a/***/b/* * / */c", "w:a w:b w:c" },
		{ "a /* b /* c */ d */ e", "w:a w:e" }, { "/*/**/*/x", "w:x" }, { "/* -- */x", "w:x" },
		{ "-- /*\nx */", "w:x o:*/" },
		{ "/* ' */x", "w:x" }, { "'/*' x", "s:'/*' w:x" },
		{ "a /* b", "w:a error:/* b" }, { "/*/", "error:/*/" }, { "/* /* */", "error:/* /* */" }, { "/*", "error:/*" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, strings)
{
	static const char *const rows[][2] = {
		{ "'a' 'b''c' ''", "s:'a' s:'b''c' s:''" }, { "'\\'x", "s:'\\' w:x" }, { "'a''''b'", "s:'a''''b'" },
		{ "E'a\\'b' e'\\\\' E'a''b'", "s:E'a\\'b' s:e'\\\\' s:E'a''b'" },
		{ "E'\\x41' E'\\101' E'\\u0041' E'\\q'", "s:E'\\x41'!? s:E'\\101'!? s:E'\\u0041'!? s:E'\\q'!?" },
		{ "E'\\n\\t\\%'", "s:E'\\n\\t\\%'" },
		{ "B'01' x'1F' N'a''b' b'0''1'", "b:B'01' x:x'1F' n:N'a''b' b:b'0' s:'1'" },
		{ "U&'\\0061' u&'a''b'", "us:U&'\\0061'!? us:u&'a''b'!?" },
		{ "'open", "error:'open" }, { "E'open\\'", "error:E'open\\'" }, { "E'\\", "error:E'\\" }, { "N'", "error:N'" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, a_string_goes_on_after_a_newline)
{
	static const char *const rows[][2] = {
		{ "'a'\n'b'", "s:'a'\n'b'!?" }, { "'a' \t\n  'b'", "s:'a' \t\n  'b'!?" }, { "'a' 'b'", "s:'a' s:'b'" },
		{ "'a' -- x\n 'b'", "s:'a' -- x\n 'b'!?" }, { "'a'\n-- x\n'b'", "s:'a'\n-- x\n'b'!?" },
		{ "'a' /* x */\n'b'", "s:'a' s:'b'" }, { "'a'\n/* x */'b'", "s:'a' s:'b'" },
		{ "'a'\n'b'\n'c' 'd'", "s:'a'\n'b'\n'c'!? s:'d'" }, { "E'a'\n'b\\'c'", "s:E'a'\n'b\\'c'!?" },
		{ "'a'\nE'b'", "s:'a' s:E'b'" }, { "B'0'\n'1'", "b:B'0'\n'1'?" }, { "'a'\r'b'", "s:'a'\r'b'!?" },
		{ "'a'\n", "s:'a'" }, { "'a' --", "s:'a'" }, { "'a'\n'b", "error:'a'\n'b" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, dollar_quotes)
{
	static const char *const rows[][2] = {
		{ "$$a'b$$", "s:$$a'b$$" }, { "$x$a$$b$y$c$x$d", "s:$x$a$$b$y$c$x$ w:d" }, { "$$$$", "s:$$$$" },
		{ "$x$ $X$ $x$", "s:$x$ $X$ $x$" }, { "$a$$aa$a$", "s:$a$$aa$a$" }, { "$_1$x$_1$", "s:$_1$x$_1$" },
		{ "a$b$c", "w:a$b$c" }, { "$\xc3\xbc$x$\xc3\xbc$", "s:$\xc3\xbc$x$\xc3\xbc$" },
		{ "$$a$", "error:$$a$" }, { "$x a", "error:$x a" }, { "$", "error:$" }, { "$1$x$", "p:$1 error:$x$" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, numbers_and_parameters)
{
	static const char *const rows[][2] = {
		{ "1 23 1.5 .5 5. 1e5 1.5E-3 .5e+2 1.e2", "i:1 i:23 f:1.5 f:.5 f:5. f:1e5 f:1.5E-3 f:.5e+2 f:1.e2" },
		{ "2147483647 2147483648 0000000000002147483647 99999999999999999999999", "i:2147483647 f:2147483648 i:0000000000002147483647 "
		  "f:99999999999999999999999" },
		{ "1..2 1...2 a[1..2]", "i:1 o:.. i:2 i:1 o:.. f:.2 w:a c:[ i:1 o:.. i:2 c:]" }, { "1.5.6", "f:1.5 f:.6" },
		{ "-1 - 1 1-1", "c:- i:1 c:- i:1 i:1 c:- i:1" }, { "$1 $23+1", "p:$1 p:$23 c:+ i:1" },
		{ "1a", "error:1a" }, { "1_000", "error:1_000" }, { "0x10", "error:0x10" }, { "1e", "error:1e" },
		{ "1e+", "error:1e+" },
		{ "1.5e", "error:1.5e" }, { "1e5x", "error:1e5x" }, { "1.x", "error:1.x" }, { "$1a", "error:$1a" },
		{ "1$", "i:1 error:$" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, operators)
{
	static const char *const rows[][2] = {
		{ "a+b*c/d%e^f", "w:a c:+ w:b c:* w:c c:/ w:d c:% w:e c:^ w:f" },
		{ "a<>b!=c<=d>=e=>f", "w:a o:<> w:b o:!= w:c o:<= w:d o:>= w:e o:=> w:f" },
		{ "a->>'b' #- c @> d", "w:a o:->> s:'b' o:#- w:c o:@> w:d" }, { "a::int := : b", "w:a o::: w:int o::= c:: w:b" },
		{ "1*-1 a=-1 a<-1", "i:1 c:* c:- i:1 w:a c:= c:- i:1 w:a c:< c:- i:1" },
		{ "a@-b a+- b", "w:a o:@- w:b w:a c:+ c:- w:b" },
		{ "a*--b\nc", "w:a c:* w:c" }, { "a*/*b*/c", "w:a c:* w:c" }, { "a</*b*/=c", "w:a c:< c:= w:c" },
		{ "@-- x", "o:@" },
		{ "a +-+ b", "w:a c:+ c:- c:+ w:b" }, { "?|?&", "o:?|?&" }, { "~", "o:~" }, { "`", "o:`" },
		{ "(a),[b];", "c:( w:a c:) c:, c:[ w:b c:] c:;" },
		{ "~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~",
			"error:~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~~" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}

TEST(lexer, words_of_time)
{
	static const char *const rows[][2] = {
		{ "'now' 'NOW' ' today ' 'Tomorrow 10:00' 'yesterday' '[now,)'", "s:'now'! s:'NOW'! s:' today '! s:'Tomorrow 10:00'! "
		  "s:'yesterday'! s:'[now,)'!" },
		{ "'know' 'nowhere' 'todays' 'no w' 'n''ow'", "s:'know' s:'nowhere' s:'todays' s:'no w' s:'n''ow'" },
		{ "$$now$$ $x$ today $x$ N'now' E'now' E'\\nnow' E'a\\tnow'",
			"s:$$now$$! s:$x$ today $x$! n:N'now'! s:E'now'! s:E'\\nnow'! s:E'a\\tnow'!" },
		{ "'it''s now' E'\\'now'", "s:'it''s now'! s:E'\\'now'!" },
	};

	check_rows(rows, ARRAY_LEN(rows));
}
