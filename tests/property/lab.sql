-- lab.sql - what the sessions of the property test live in; run as superuser in database p, of which d is then made as a copy.
--
-- Job n has schema wn, and wnx, wny for search_path; lab_reset(n) puts its rows back and drops what a session made.
\set ON_ERROR_STOP on
SET client_min_messages = warning;

CREATE ROLE boss LOGIN SUPERUSER;
CREATE ROLE tuned LOGIN;
CREATE ROLE alice;
CREATE ROLE bob;
GRANT alice, bob TO app, tuned;
ALTER ROLE tuned SET TimeZone = 'Asia/Tokyo';
ALTER ROLE tuned SET DateStyle = 'SQL, DMY';
ALTER ROLE tuned SET work_mem = '5MB';
ALTER ROLE tuned SET my.a = 'of the role';
GRANT CREATE, TEMP ON DATABASE p TO PUBLIC;

CREATE FUNCTION lab_make(job int) RETURNS void LANGUAGE plpgsql AS $make$
DECLARE
	w text := 'w' || job;
	path text;
BEGIN
	EXECUTE format('CREATE SCHEMA %I', w);
	FOREACH path IN ARRAY ARRAY[w || 'x', w || 'y'] LOOP
		EXECUTE format('CREATE SCHEMA %1$I; CREATE TABLE %1$I.who (name text); INSERT INTO %1$I.who VALUES (%2$L);
			CREATE FUNCTION %1$I.whoami() RETURNS text LANGUAGE sql STABLE AS %3$L',
			path, right(path, 1), format('SELECT %L::text', right(path, 1)));
	END LOOP;
	EXECUTE format($ddl$
		SET search_path = %1$I;
		CREATE TYPE mood AS ENUM ('sad', 'ok', 'happy');
		CREATE TABLE acct (id int PRIMARY KEY, owner text, balance numeric(12,2) CHECK (balance >= 0), note text, feeling mood)
			WITH (autovacuum_enabled = off);
		CREATE TABLE log (id serial PRIMARY KEY, msg text NOT NULL, by name DEFAULT current_user) WITH (autovacuum_enabled = off);
		CREATE TABLE plain (a int, b text) WITH (autovacuum_enabled = off);
		CREATE TABLE shown (t timestamptz, i interval, d date, f float8, b bytea);
		INSERT INTO shown VALUES ('2024-03-10 12:34:56.789+00', '1 year 2 mons 3 days 04:05:06', '2024-02-01', 0.1, '\x00ff41');
		CREATE TABLE secret (owner name, v text) WITH (autovacuum_enabled = off);
		ALTER TABLE secret ENABLE ROW LEVEL SECURITY;
		CREATE POLICY mine ON secret USING (owner = current_user);
		CREATE TABLE tenants (tenant text, v text) WITH (autovacuum_enabled = off);
		ALTER TABLE tenants ENABLE ROW LEVEL SECURITY;
		CREATE POLICY theirs ON tenants USING (tenant = current_setting('my.tenant', true));
		CREATE TABLE parent (id int PRIMARY KEY);
		CREATE TABLE child (id int REFERENCES parent DEFERRABLE INITIALLY IMMEDIATE);
		CREATE VIEW zone AS SELECT current_setting('TimeZone') AS zone, current_user AS who;

		CREATE FUNCTION inc(int) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT $1 + 1';
		CREATE FUNCTION setit(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN set_config($1, $2, false); END';
		CREATE FUNCTION setlocal(text, text) RETURNS text LANGUAGE plpgsql AS 'BEGIN RETURN set_config($1, $2, true); END';
		CREATE FUNCTION getit(text) RETURNS text LANGUAGE plpgsql STABLE AS 'BEGIN RETURN current_setting($1, true); END';
		CREATE FUNCTION mktemp(int) RETURNS int LANGUAGE plpgsql AS
			'BEGIN CREATE TEMP TABLE made_inside (a int); INSERT INTO made_inside VALUES ($1); RETURN $1; END';
		CREATE FUNCTION readtemp() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT sum(a) FROM made_inside); END';
		CREATE FUNCTION fails(text) RETURNS int LANGUAGE plpgsql AS
			$f$BEGIN RAISE EXCEPTION 'fails: %%', $1 USING HINT = 'as it should', DETAIL = 'on purpose', ERRCODE = 'XX123'; END$f$;
		CREATE FUNCTION says(text) RETURNS text LANGUAGE plpgsql AS $f$BEGIN RAISE NOTICE 'says %%', $1; RETURN $1; END$f$;
		CREATE FUNCTION writes(text) RETURNS int LANGUAGE plpgsql AS
			$f$DECLARE r int; BEGIN INSERT INTO %1$I.log (msg) VALUES ($1) RETURNING id INTO r; RETURN r; END$f$;
		CREATE FUNCTION german() RETURNS text LANGUAGE plpgsql SET DateStyle = 'German' AS
			$f$BEGIN RETURN '2024-02-01'::date::text; END$f$;
		CREATE FUNCTION locks(bigint) RETURNS boolean LANGUAGE plpgsql AS 'BEGIN RETURN pg_try_advisory_lock($1); END';
		CREATE PROCEDURE moves(int, int) LANGUAGE plpgsql AS
			$f$BEGIN UPDATE %1$I.acct SET balance = balance - 1 WHERE id = $1; COMMIT;
			UPDATE %1$I.acct SET balance = balance + 1 WHERE id = $2; END$f$;
		CREATE FUNCTION stamp() RETURNS trigger LANGUAGE plpgsql AS
			$f$BEGIN NEW.note := coalesce(current_setting('my.a', true), 'none') || '/' || current_user; RETURN NEW; END$f$;
		CREATE TRIGGER stamp BEFORE UPDATE OF note ON acct FOR EACH ROW EXECUTE FUNCTION stamp();
		RESET search_path;
	$ddl$, w);
	FOREACH path IN ARRAY ARRAY[w, w || 'x', w || 'y'] LOOP
		EXECUTE format('GRANT ALL ON SCHEMA %1$I TO PUBLIC; GRANT ALL ON ALL TABLES IN SCHEMA %1$I TO PUBLIC;
			GRANT ALL ON ALL SEQUENCES IN SCHEMA %1$I TO PUBLIC', path);
	END LOOP;
END $make$;

-- What a session may have made is found by what was there when the schemas were new.
CREATE TABLE lab_own (oid oid PRIMARY KEY);

CREATE FUNCTION lab_reset(job int) RETURNS void LANGUAGE plpgsql AS $reset$
DECLARE
	made record;
	w text := 'w' || job;
BEGIN
	FOR made IN SELECT c.oid::regclass AS name, c.relkind FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace
		WHERE nspname IN (w, w || 'x', w || 'y', 'public') AND relkind IN ('r', 'v', 'S', 'm') AND relname !~ '^(pg_stat|lab_)'
		AND (nspname <> 'public' OR relname ~ ('_' || job || '$')) AND NOT EXISTS (SELECT FROM lab_own o WHERE o.oid = c.oid)
	LOOP
		EXECUTE format('DROP %s IF EXISTS %s CASCADE',
			CASE made.relkind WHEN 'r' THEN 'TABLE' WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'SEQUENCE' END, made.name);
	END LOOP;
	EXECUTE format($rows$
		DELETE FROM %1$I.acct; DELETE FROM %1$I.log; DELETE FROM %1$I.plain; DELETE FROM %1$I.secret; DELETE FROM %1$I.tenants;
		DELETE FROM %1$I.child; DELETE FROM %1$I.parent;
		INSERT INTO %1$I.acct SELECT i, CASE i %% 2 WHEN 0 THEN 'alice' ELSE 'bob' END, 100 * i, 'café ' || i, 'ok' FROM generate_series(1, 5) i;
		INSERT INTO %1$I.secret SELECT o, 'of ' || o FROM unnest(ARRAY['app', 'alice', 'bob', 'boss', 'tuned']) o;
		INSERT INTO %1$I.tenants VALUES ('red', 'r1'), ('red', 'r2'), ('blue', 'b1');
		INSERT INTO %1$I.plain SELECT i, 'row ' || i FROM generate_series(1, 6) i;
		SELECT setval('%1$I.log_id_seq', 1, false);
	$rows$, w);
END $reset$;

SELECT lab_make(job) FROM generate_series(0, :jobs - 1) job;
INSERT INTO lab_own SELECT oid FROM pg_class;
SELECT lab_reset(job) FROM generate_series(0, :jobs - 1) job;
