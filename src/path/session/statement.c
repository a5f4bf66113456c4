/* Prepared statements: texts interned a worker, names kept a client. */
#include <stdio.h>

#include "private.h"

static struct hash128 statement_id(const struct wire_parse *parse)
{
	struct hash128 id = hash_bytes(parse->sql, parse->sql_len), types;

	if (parse->type_count == 0)
		return id;
	types = hash_bytes(parse->types, (size_t)parse->type_count * 4);
	/* The two hashes are under a secret key: combining them by multiplication and addition keeps them apart well enough. */
	return (struct hash128){ id.lo * 3 + types.lo, id.hi * 5 + types.hi };
}

static uint64_t mode_bits(const struct sql_mode *mode)
{
	return (uint64_t)!mode->standard_conforming_strings + 2 * (uint64_t)!mode->ascii_safe_encoding;
}

/* What clients send again and again is found without a hash. */
static bool is_same(const struct session *s, const struct statement *st, const struct wire_parse *parse)
{
	return st && st->sql.len == parse->sql_len && st->type_count == parse->type_count && st->salt == s->text_salt &&
	       st->mode_bits == mode_bits(&s->mode) && !(s->batch.flags & SQL_F_EFFECTS) && memcmp(st->sql.data, parse->sql, parse->sql_len) == 0 &&
	       (parse->type_count == 0 || memcmp(st->types, parse->types, (size_t)parse->type_count * 4) == 0);
}

static struct statement *intern(struct session *s, const struct wire_parse *parse)
{
	struct hash128 id = statement_id(parse);
	/* Texts are read differently under other modes and settings ('2024-06-01 00:00'::timestamptz becomes a constant when it is parsed):
	 * neither verdicts nor servers' statements must meet. */
	uint64_t settings = s->batch.flags & SQL_F_EFFECTS ? ++s->env->last_salt : s->text_salt;        /* SET before it in the same batch */
	struct hash128 key = { id.lo, id.hi + mode_bits(&s->mode) + settings };
	struct statement *statement = map_get(&s->env->statements, key);
	size_t types_len = (size_t)parse->type_count * 4;
	uint8_t *bytes;

	if (statement)
		return statement_ref(statement);
	statement = mem_alloc(sizeof(*statement) + types_len + parse->sql_len + 1);
	bytes = (uint8_t *)(statement + 1);
	statement->id = key;
	statement->refs = 1;
	statement->env = s->env;
	statement->salt = settings;
	statement->mode_bits = (uint8_t)mode_bits(&s->mode);
	statement->has_settings = settings == s->text_salt && !s->salt_extra && !record_is_open(s);
	if (statement->has_settings)
		statement->settings = settings_ref(s->settings);
	statement->type_count = parse->type_count;
	statement->types = bytes;
	if (types_len)
		memcpy(bytes, parse->types, types_len);
	memcpy(bytes + types_len, parse->sql, parse->sql_len);
	statement->sql = (struct span){ (char *)bytes + types_len, parse->sql_len };
	statement_server_name(key, statement->server_name);
	statement->verdict = sql_verdict(s->env->sql, statement->sql, s->mode);
	map_put(&s->env->statements, key, statement);
	return statement;
}

struct statement *statement_intern(struct session *s, const struct wire_parse *parse)
{
	return is_same(s, s->unnamed, parse) ? statement_ref(s->unnamed) : intern(s, parse);
}

struct statement *statement_ref(struct statement *statement)
{
	if (statement)
		statement->refs++;
	return statement;
}

void statement_unref(struct statement **statement)
{
	struct statement *st = *statement;

	*statement = NULL;
	if (!st || --st->refs)
		return;
	map_remove(&st->env->statements, st->id);
	verdict_unref(&st->verdict);
	settings_unref(&st->settings);
	mem_free(st);
}

void statement_server_name(struct hash128 id, char out[STATEMENT_NAME_LEN + 1])
{
	static const char digits[] = "0123456789abcdef";
	uint64_t half[2] = { id.hi, id.lo };
	char *at = out;

	*at++ = 'p';
	*at++ = 's';
	*at++ = '_';
	for (int h = 0; h < 2; h++)
		for (int shift = 60; shift >= 0; shift -= 4)
			*at++ = digits[half[h] >> shift & 15];
	*at = '\0';
}

/* ---- a client's names: of statements parsed by the protocol, and of those prepared by SQL ---- */

static struct hash128 name_id(const char *name)
{
	return hash_bytes(name, strlen(name));
}

const struct named *named_get(const struct session *s, const char *name)
{
	return map_get(&s->named, name_id(name));
}

struct statement *named_find(struct session *s, const char *name)
{
	struct named *named;

	if (name[0] == '\0')
		return s->unnamed;
	if (s->named_last && strcmp(s->named_last->name, name) == 0)
		return s->named_last->statement;
	named = map_get(&s->named, name_id(name));
	if (named)
		s->named_last = named;
	return named ? named->statement : NULL;
}

static void named_free(struct session *s, struct named *named)
{
	if (!named)
		return;
	s->named_last = NULL;
	statement_unref(&named->statement);
	verdict_unref(&named->verdict);
	settings_unref(&named->settings);
	mem_free(named->name);
	mem_free(named->sql);
	mem_free(named);
}

static struct named *named_new(struct session *s, const char *name)
{
	struct named *named = mem_alloc(sizeof(*named));

	named->name = mem_strdup(name);
	named_free(s, map_put(&s->named, name_id(name), named));
	return named;
}

void named_put(struct session *s, const char *name, struct statement *statement)
{
	struct named *named;

	if (name[0] == '\0') {
		struct statement *before = s->unnamed;
		s->unnamed_streamed = false;
		s->unnamed = statement_ref(statement);
		statement_unref(&before);
		return;
	}
	statement_ref(statement);
	named = named_new(s, name);
	named->statement = statement;
	named->id = statement->id;
	named->salt = statement->salt;
	named->has_settings = statement->has_settings;
	named->settings = settings_ref(statement->settings);
}

struct hash128 named_put_sql(struct session *s, const char *name, const char *sql, const char *query)
{
	struct named *named = named_new(s, name);

	named->sql = mem_strdup(sql);
	named->id = hash_bytes(sql, strlen(sql));
	named->id.hi += s->text_salt;
	named->salt = s->text_salt;
	named->has_settings = !s->salt_extra && !record_is_open(s);
	if (named->has_settings)
		named->settings = settings_ref(s->settings);
	named->verdict = sql_verdict(s->env->sql, span_of(query), s->mode);
	return named->id;
}

void named_drop(struct session *s, const char *name)
{
	if (name[0] == '\0') {
		statement_unref(&s->unnamed);
		s->unnamed_streamed = false;
	} else
		named_free(s, map_remove(&s->named, name_id(name)));
}

void named_close(struct session *s, const char *name)
{
	struct named *named = name[0] ? map_get(&s->named, name_id(name)) : NULL;

	if (named && named->sql)
		named->is_closing = true;
	else
		named_drop(s, name);
}

void named_end_close(struct session *s, const char *name, bool is_closed)
{
	struct named *named = map_get(&s->named, name_id(name));

	if (!named || !named->is_closing)
		return;
	named->is_closing = false;
	if (is_closed)
		named_drop(s, name);
}

void named_drop_all(struct session *s)
{
	struct named *named;
	size_t it = 0;

	while ((named = map_next(&s->named, &it)))
		named_free(s, named);
	map_free(&s->named);
}
