/* property - runs random sessions directly and through pgshunt and compares every reply; see README.md.
 *
 * Jobs are processes: each takes the next session's number from a counter they share, so that a session depends on seed and number only. */
#include "grammar.h"
#include "shrink.h"

#include <getopt.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#define JOBS_MAX 16
#define KINDS_MAX 512
#define SHRINK_RUNS 500
#define REPEATS 20

struct options {
	struct bed_options bed;
	const char *grammar, *replay;
	uint64_t seed;
	unsigned sessions, first, jobs, steps_min, steps_max;
	unsigned findings;              /* so many differences of different kinds are made short and printed */
	unsigned tries;
	unsigned give_up_after;         /* sessions that differ; 0: never */
	bool is_brief;                  /* no shrinking */
	bool is_told;                   /* print every session */
};

/* What the jobs share. */
struct shared {
	atomic_uint next, done, differing, steps, errors, in_block, busy, found;
	_Atomic uint64_t kinds[KINDS_MAX];      /* hashes of the differences seen */
};

struct job {
	const struct options *options;
	struct shared *shared;
	struct grammar *grammar;
	struct bed bed;
	unsigned number;
};

/* --- one random session */

static struct rng rng_for(const struct options *o, unsigned session)
{
	struct rng rng = { o->seed * 0x100000001b3u + session };

	rng_next(&rng);
	return rng;
}

static const char *rule_for(char status)
{
	return status == 'T' ? "block" : status == 'E' ? "failed" : "idle";
}

static char *draw(const struct job *job, const char *rule, struct rng *rng)
{
	struct buf text = { .len = 0 };
	char *drawn;

	grammar_draw(job->grammar, rule, rng, &text);
	drawn = mem_strdup(buf_cstr(&text));
	buf_free(&text);
	return drawn;
}

static void count_step(struct job *job)
{
	atomic_fetch_add(&job->shared->steps, 1);
	atomic_fetch_add(&job->shared->in_block, bed_status(&job->bed) != 'I');
	for (size_t at = 0; at + 5 < job->bed.direct.said.len;) {
		const uint8_t *m = job->bed.direct.said.data + at;

		if (m[0] == 'E') {
			atomic_fetch_add(&job->shared->errors, 1);
			return;
		}
		at += 1 + ((size_t)m[1] << 24 | (size_t)m[2] << 16 | (size_t)m[3] << 8 | m[4]);
	}
}

/* Draws and runs it; script is what was drawn. True: it differed. */
static bool run_random(struct job *job, unsigned session, struct script *script, struct difference *found)
{
	struct rng rng = rng_for(job->options, session);
	unsigned steps = rng_between(&rng, job->options->steps_min, job->options->steps_max);
	const char *why = "";
	enum bed_rc rc;

	*script = (struct script){ .startup = draw(job, "startup", &rng) };
	rc = bed_begin(&job->bed, script->startup, &why);
	while (rc == BED_SAME && script->count < steps) {
		char *step = draw(job, rule_for(bed_status(&job->bed)), &rng);

		script_add(script, step);
		rc = bed_step(&job->bed, step, &why);
		count_step(job);
		mem_free(step);
	}
	if (rc == BED_DIFFERS || rc == BED_BROKEN)
		difference_note(found, &job->bed, rc, why, script->count);
	bed_end(&job->bed);
	return rc == BED_DIFFERS || rc == BED_BROKEN;
}

/* --- differences */

/* How it differs, and if no SQLSTATE says that the first words of the step: two findings of one kind are most likely one bug. */
static bool is_new_kind(struct job *job, const struct script *script, const struct difference *found)
{
	char kind[DIFFERENCE_BYTES + 64];
	const char *step = found->step ? script->steps[found->step - 1] : "startup";
	uint64_t hash = 14695981039346656037u;

	snprintf(kind, sizeof(kind), "%s %.*s", found->what, strstr(found->what, "E ") ? 0 : 12, step);
	for (const char *at = kind; *at; at++)
		hash = (hash ^ (uint8_t)*at) * 0x100000001b3u;
	for (size_t i = 0; i < KINDS_MAX; i++) {
		uint64_t empty = 0;

		if (atomic_compare_exchange_strong(&job->shared->kinds[i], &empty, hash))
			return true;
		if (empty == hash)
			return false;
	}
	return false;
}

static void print_finding(const struct job *job, unsigned session, const struct script *script, const struct difference *found, unsigned again,
	unsigned of)
{
	struct buf text = { .len = 0 };

	buf_printf(&text, "\n===== session %u of seed %llu differs in step %zu: %s", session, (unsigned long long)job->options->seed, found->step,
		found->what);
	if (of)
		buf_printf(&text, " (made short: differs %u times of %u)", again, of);
	buf_add_u8(&text, '\n');
	script_print(script, &text);
	buf_add_str(&text, "=====\n");
	buf_add(&text, found->replies.data, found->replies.len);
	fwrite(text.data, 1, text.len, stdout);
	fflush(stdout);
	buf_free(&text);
}

/* Shortens and prints it; how often the short one differs is worth knowing to who replays it. */
static void examine(struct job *job, unsigned session, struct script *script, struct difference *found)
{
	struct difference again = { .step = 0 };
	unsigned times = 0, of = 0;

	if (!job->options->is_brief) {
		atomic_fetch_add(&job->shared->busy, 1);
		shrink(&job->bed, script, found->what, job->options->tries, SHRINK_RUNS);
		for (of = 0; of < REPEATS; of++) {
			if (!script_differs(&job->bed, script, &again))
				continue;
			times++;
			mem_free(found->replies.data);
			*found = again;
			again = (struct difference){ .step = 0 };
		}
		atomic_fetch_sub(&job->shared->busy, 1);
	}
	print_finding(job, session, script, found, times, of);
	buf_free(&again.replies);
}

static void tell(const struct script *script)
{
	struct buf text = { .len = 0 };

	script_print(script, &text);
	fwrite(text.data, 1, text.len, stdout);
	fflush(stdout);
	buf_free(&text);
}

static void run_session(struct job *job, unsigned session)
{
	struct difference found = { .step = 0 };
	struct script script;

	if (run_random(job, session, &script, &found)) {
		atomic_fetch_add(&job->shared->differing, 1);
		if (is_new_kind(job, &script, &found) && atomic_fetch_add(&job->shared->found, 1) < job->options->findings)
			examine(job, session, &script, &found);
	}
	atomic_fetch_add(&job->shared->done, 1);
	if (job->options->is_told)
		tell(&script);
	buf_free(&found.replies);
	script_free(&script);
}

static bool is_enough(const struct job *job)
{
	return job->options->give_up_after && atomic_load(&job->shared->differing) >= job->options->give_up_after;
}

/* Others still make theirs short: pooled servers must go on changing hands under them. */
static void make_noise(struct job *job)
{
	struct difference ignored = { .step = 0 };
	unsigned session = 1000000 + 100000 * job->number;

	while (atomic_load(&job->shared->busy)) {
		struct script script;

		run_random(job, session++, &script, &ignored);
		script_free(&script);
	}
	buf_free(&ignored.replies);
}

static void replay(struct job *job)
{
	struct difference found = { .step = 0 };
	struct script script;

	if (!script_read(&script, job->options->replay)) {
		fprintf(stderr, "property: %s: not a script\n", job->options->replay);
		exit(2);
	}
	for (unsigned i = 0; i < job->options->sessions; i++) {
		bool differs = script_differs(&job->bed, &script, &found);

		if (differs && atomic_fetch_add(&job->shared->differing, 1) == 0)
			print_finding(job, i, &script, &found, 0, 0);
		atomic_fetch_add(&job->shared->done, 1);
	}
	atomic_fetch_sub(&job->shared->busy, 1);
	buf_free(&found.replies);
	script_free(&script);
}

static void run_job(const struct options *options, struct shared *shared, unsigned number)
{
	struct job job = { .options = options, .shared = shared, .number = number };
	unsigned next;

	job.grammar = grammar_load(options->grammar);
	bed_init(&job.bed, &options->bed, number);
	if (options->replay) {
		if (number == 0)
			replay(&job);
	} else {
		while (!is_enough(&job) && (next = atomic_fetch_add(&shared->next, 1)) < options->first + options->sessions)
			run_session(&job, next);
	}
	make_noise(&job);
	bed_free(&job.bed);
	grammar_free(&job.grammar);
}

/* --- main */

static void usage(void) __attribute__((noreturn));
static void usage(void)
{
	fputs("usage: property --direct-port N --proxy-port N [--standby-port N ...] [--direct-database d] [--proxy-database p]\n"
	      "  [--grammar FILE] [--seed N] [--sessions N] [--first N] [--jobs N] [--min-steps N] [--max-steps N] [--timeout MS]\n"
	      "  [--findings N]      make so many different differences short and print them (5)\n"
	      "  [--tries N]         of each candidate when making short (4)\n"
	      "  [--give-up-after N] sessions that differ\n"
	      "  [--brief]           print differences as they are\n"
	      "  [--fresh]           close pgshunt's idle servers before each run; with --jobs 1 the session that leaves something at one is found\n"
	      "  [--print]           print every session\n"
	      "  [--replay FILE]     run this session --sessions times, while the other jobs run random ones\n",
		stderr);
	exit(2);
}

static const struct option long_options[] = {
	{ "direct-port", required_argument, NULL, 'D' },    { "proxy-port", required_argument, NULL, 'P' },
	{ "standby-port", required_argument, NULL, 'S' },   { "direct-database", required_argument, NULL, 'd' },
	{ "proxy-database", required_argument, NULL, 'p' }, { "grammar", required_argument, NULL, 'g' },
	{ "seed", required_argument, NULL, 's' },           { "sessions", required_argument, NULL, 'n' },
	{ "first", required_argument, NULL, 'f' },          { "jobs", required_argument, NULL, 'j' },
	{ "min-steps", required_argument, NULL, 'm' },      { "max-steps", required_argument, NULL, 'M' },
	{ "timeout", required_argument, NULL, 't' },        { "findings", required_argument, NULL, 'F' },
	{ "tries", required_argument, NULL, 'T' },          { "give-up-after", required_argument, NULL, 'G' },
	{ "fresh", no_argument, NULL, 'e' },
	{ "print", no_argument, NULL, 'i' },
	{ "brief", no_argument, NULL, 'b' },                { "replay", required_argument, NULL, 'r' },
	{ NULL, 0, NULL, 0 },
};

static void add_standby(struct bed_options *bed, unsigned port)
{
	if (bed->standby_count == BED_STANDBYS_MAX)
		usage();
	bed->standby_ports[bed->standby_count++] = port;
}

static void set_option(struct options *o, int letter)
{
	unsigned number = optarg ? (unsigned)strtoul(optarg, NULL, 10) : 0;

	switch (letter) {
	case 'D': o->bed.direct_port = number; break;
	case 'P': o->bed.proxy_port = number; break;
	case 'S': add_standby(&o->bed, number); break;
	case 'd': o->bed.direct_database = optarg; break;
	case 'p': o->bed.proxy_database = optarg; break;
	case 'g': o->grammar = optarg; break;
	case 's': o->seed = strtoull(optarg, NULL, 10); break;
	case 'n': o->sessions = number; break;
	case 'f': o->first = number; break;
	case 'j': o->jobs = MIN(MAX(number, 1u), (unsigned)JOBS_MAX); break;
	case 'm': o->steps_min = number; break;
	case 'M': o->steps_max = number; break;
	case 't': o->bed.timeout_ms = (int)number; break;
	case 'F': o->findings = number; break;
	case 'T': o->tries = MAX(number, 1u); break;
	case 'G': o->give_up_after = number; break;
	case 'b': o->is_brief = true; break;
	case 'e': o->bed.is_fresh = true; break;
	case 'i': o->is_told = true; break;
	case 'r': o->replay = optarg; break;
	default: usage();
	}
}

static struct options read_options(int argc, char **argv)
{
	struct options o = { .bed = { .host = "127.0.0.1", .direct_database = "d", .proxy_database = "p", .timeout_ms = 15000 },
		.grammar = "tests/property/session.grammar", .seed = 1, .sessions = 500, .jobs = 4, .steps_min = 8, .steps_max = 40,
		.findings = 5, .tries = 4 };
	int letter;

	while ((letter = getopt_long(argc, argv, "", long_options, NULL)) != -1)
		set_option(&o, letter);
	if (!o.bed.direct_port || !o.bed.proxy_port || o.steps_min > o.steps_max || optind < argc)
		usage();
	return o;
}

/* -> how many jobs did not end well */
static unsigned run_jobs(const struct options *o, struct shared *shared)
{
	unsigned broken = 0;
	int status;

	for (unsigned i = 0; i < o->jobs; i++) {
		pid_t pid = fork();

		if (pid == 0) {
			run_job(o, shared, i);
			_exit(0);
		}
	}
	while (wait(&status) > 0)
		broken += status != 0;
	return broken;
}

int main(int argc, char **argv)
{
	struct options o = read_options(argc, argv);
	struct shared *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	usec_t started = time_mono_us();
	unsigned broken, done, differing;

	if (shared == MAP_FAILED)
		return 2;
	setvbuf(stdout, NULL, _IOFBF, 1 << 20);
	atomic_store(&shared->next, o.first);
	atomic_store(&shared->busy, o.replay != NULL);
	broken = run_jobs(&o, shared);
	done = atomic_load(&shared->done);
	differing = atomic_load(&shared->differing);
	printf("\nseed %llu: %u sessions, %u steps (%u with an error, %u end inside a transaction), %.1f s\n", (unsigned long long)o.seed, done,
		atomic_load(&shared->steps), atomic_load(&shared->errors), atomic_load(&shared->in_block), (double)(time_mono_us() - started) / 1e6);
	if (broken)
		printf("%u jobs ended early\n", broken);
	printf("%u passed, %u failed\n", done - differing, differing + broken);
	return differing || broken;
}
