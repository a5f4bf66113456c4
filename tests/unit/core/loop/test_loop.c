/* Deferred calls, timers, descriptors, mailboxes across threads. */
#include "test.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <unistd.h>

#include "pgshunt/loop.h"

struct turn {
	struct loop *loop;
	char order[32];
	size_t at;
	int left;
};

static void add(struct turn *turn, char what)
{
	turn->order[turn->at++] = what;
	turn->order[turn->at] = '\0';
}

static void say_a(void *owner)
{
	add(owner, 'a');
}

static void say_b_and_a(void *owner)
{
	struct turn *turn = owner;

	add(turn, 'b');
	loop_later(turn->loop, say_a, turn);
	add(turn, 'B');
}

static void stop(void *owner)
{
	struct turn *turn = owner;

	add(turn, '.');
	loop_stop(turn->loop);
}

TEST(loop, later_runs_after_the_call_and_before_the_loop_sleeps)
{
	struct turn turn = { .loop = loop_new() };
	struct timer *timer = timer_new(turn.loop, stop, &turn);

	timer_set(timer, 20 * USEC_PER_MS);
	loop_later(turn.loop, say_b_and_a, &turn);
	loop_later(turn.loop, say_a, &turn);
	CHECK_STR(turn.order, "");
	loop_run(turn.loop);
	CHECK_STR(turn.order, "bBaa.");
	timer_free(&timer);
	loop_free(&turn.loop);
	CHECK(turn.loop == NULL);
}

TEST(loop, what_is_put_off_when_it_is_freed_still_runs)
{
	struct turn turn = { .loop = loop_new() };

	loop_later(turn.loop, say_b_and_a, &turn);
	loop_flush(turn.loop);
	CHECK_STR(turn.order, "bBa");
	loop_later(turn.loop, say_a, &turn);
	loop_free(&turn.loop);
	CHECK_STR(turn.order, "bBaa");
}

static void many(void *owner)
{
	struct turn *turn = owner;

	if (--turn->left > 0)
		loop_later(turn->loop, many, turn);
	else
		loop_stop(turn->loop);
}

TEST(loop, later_many_times)
{
	struct turn turn = { .loop = loop_new(), .left = 10000 };

	loop_later(turn.loop, many, &turn);
	loop_run(turn.loop);
	CHECK_INT(turn.left, 0);
	loop_free(&turn.loop);
}

TEST(loop, timers_fire_once_in_order_and_can_be_stopped)
{
	struct turn turn = { .loop = loop_new() };
	struct timer *a = timer_new(turn.loop, say_a, &turn), *b = timer_new(turn.loop, say_a, &turn), *end = timer_new(turn.loop, stop, &turn);

	timer_set(end, 40 * USEC_PER_MS);
	timer_set(a, 5 * USEC_PER_MS);
	timer_set(a, 10 * USEC_PER_MS);         /* replaces */
	timer_set(b, 10 * USEC_PER_MS);
	CHECK(timer_is_set(b));
	timer_stop(b);
	CHECK(!timer_is_set(b));
	loop_run(turn.loop);
	CHECK_STR(turn.order, "a.");
	CHECK(!timer_is_set(a));
	timer_free(&a);
	timer_free(&b);
	timer_free(&end);
	timer_free(&end);
	loop_free(&turn.loop);
}

TEST(loop, a_negative_time_is_now)
{
	struct turn turn = { .loop = loop_new() };
	struct timer *end = timer_new(turn.loop, stop, &turn);

	timer_set(end, -5);
	loop_run(turn.loop);
	CHECK_STR(turn.order, ".");
	timer_free(&end);
	loop_free(&turn.loop);
}

static void count_down(void *owner)
{
	struct turn *turn = owner;

	add(turn, 't');
	if (--turn->left == 0)
		loop_stop(turn->loop);
}

TEST(loop, a_ticker_ticks_until_it_is_freed)
{
	struct turn turn = { .loop = loop_new(), .left = 3 };
	struct ticker *ticker = ticker_new(turn.loop, 5 * USEC_PER_MS, count_down, &turn);
	struct timer *end = timer_new(turn.loop, stop, &turn);
	usec_t began = time_mono_us();

	loop_run(turn.loop);
	CHECK_STR(turn.order, "ttt");
	CHECK(time_mono_us() - began >= 14 * USEC_PER_MS);
	ticker_free(&ticker);
	CHECK(ticker == NULL);
	ticker_free(&ticker);
	timer_set(end, 20 * USEC_PER_MS);
	loop_run(turn.loop);
	CHECK_STR(turn.order, "ttt.");
	timer_free(&end);
	loop_free(&turn.loop);
}

struct pipe_watch {
	struct turn turn;
	struct watch *watch;
	int fds[2];
};

static void free_in_own_call(void *owner, unsigned events)
{
	struct pipe_watch *p = owner;

	add(&p->turn, events == WATCH_READ ? 'r' : '?');
	watch_free(&p->watch);
	loop_stop(p->turn.loop);
}

TEST(loop, a_watch_may_be_freed_in_its_own_call)
{
	struct pipe_watch p = { .turn.loop = loop_new() };

	CHECK_INT(pipe2(p.fds, O_NONBLOCK | O_CLOEXEC), 0);
	p.watch = watch_new(p.turn.loop, p.fds[0], free_in_own_call, &p);
	watch_set(p.watch, WATCH_READ);
	watch_set(p.watch, WATCH_READ);
	CHECK_INT(write(p.fds[1], "x", 1), 1);
	loop_run(p.turn.loop);
	CHECK_STR(p.turn.order, "r");
	CHECK(p.watch == NULL);
	close(p.fds[0]);
	close(p.fds[1]);
	loop_free(&p.turn.loop);
}

struct edges {
	struct turn turn;
	struct watch *watch;
	int fds[2];
};

static void leave_it_there(void *owner, unsigned events)
{
	struct edges *e = owner;

	add(&e->turn, events == WATCH_READ ? 'r' : '?');
	if (e->turn.at == 1)
		CHECK_INT(write(e->fds[1], "y", 1), 1);
}

/* What was left unread isn't told again; what comes behind it is. */
TEST(loop, an_edge_is_told_once)
{
	struct edges e = { .turn.loop = loop_new() };
	struct timer *end = timer_new(e.turn.loop, stop, &e.turn);

	CHECK_INT(pipe2(e.fds, O_NONBLOCK | O_CLOEXEC), 0);
	e.watch = watch_new(e.turn.loop, e.fds[0], leave_it_there, &e);
	watch_set(e.watch, WATCH_READ | WATCH_EDGE);
	CHECK_INT(write(e.fds[1], "x", 1), 1);
	timer_set(end, 20 * USEC_PER_MS);
	loop_run(e.turn.loop);
	CHECK_STR(e.turn.order, "rr.");
	watch_free(&e.watch);
	close(e.fds[0]);
	close(e.fds[1]);
	timer_free(&end);
	loop_free(&e.turn.loop);
}

struct clock {
	struct loop *loop;
	usec_t seen[3];
	int calls;
};

static void look_at_clock(void *owner)
{
	struct clock *c = owner;
	usec_t began = time_mono_us();

	c->seen[c->calls] = loop_now_us(c->loop);
	CHECK(c->seen[c->calls] >= began);
	while (time_mono_us() < c->seen[c->calls] + 2000)
		;
	CHECK_INT(loop_now_us(c->loop), c->seen[c->calls]);
	if (++c->calls < 3)
		loop_later(c->loop, look_at_clock, c);
	else
		loop_stop(c->loop);
}

TEST(loop, the_clock_is_read_once_a_call)
{
	struct clock c = { .loop = loop_new() };

	loop_later(c.loop, look_at_clock, &c);
	loop_run(c.loop);
	CHECK_INT(c.calls, 3);
	CHECK(c.seen[1] >= c.seen[0] + 2000 && c.seen[2] >= c.seen[1] + 2000);
	CHECK(loop_now_us(c.loop) >= c.seen[2] + 2000);
	loop_free(&c.loop);
}

/* ---- mailboxes ---- */

#define SENDERS 4
#define LETTERS 20000

struct post {
	struct loop *loop;
	struct mailbox *mailbox;
	long next[SENDERS];     /* what is expected of each sender */
	long got, wrong;
};

struct letter {
	int sender;
	long number;
};

static void take_letter(void *owner, int kind, void *content)
{
	struct post *post = owner;
	struct letter *letter = content;

	post->wrong += kind != 7 || letter->number != post->next[letter->sender];
	post->next[letter->sender] = letter->number + 1;
	mem_free(letter);
	if (++post->got == SENDERS * LETTERS)
		loop_stop(post->loop);
}

struct sender {
	struct post *post;
	int number;
};

static void send_letters(void *owner)
{
	struct sender *sender = owner;

	for (long i = 0; i < LETTERS; i++) {
		struct letter *letter = mem_alloc(sizeof(*letter));
		*letter = (struct letter){ sender->number, i };
		mailbox_send(sender->post->mailbox, 7, letter);
	}
}

TEST(mailbox, letters_of_many_threads_come_once_and_in_each_senders_order)
{
	struct post post = { .loop = loop_new() };
	struct sender senders[SENDERS];
	struct thread *threads[SENDERS];

	post.mailbox = mailbox_new(post.loop, take_letter, &post);
	for (int i = 0; i < SENDERS; i++) {
		senders[i] = (struct sender){ &post, i };
		threads[i] = thread_start("sender", 0, send_letters, &senders[i]);
	}
	loop_run(post.loop);
	for (int i = 0; i < SENDERS; i++)
		thread_join(&threads[i]);
	CHECK_INT(post.got, SENDERS * LETTERS);
	CHECK_INT(post.wrong, 0);
	mailbox_free(&post.mailbox);
	loop_free(&post.loop);
}

/* Two loops that answer each other. */
struct player {
	struct loop *loop;
	struct mailbox *mine, *other;
	int left;
};

static void hit_back(void *owner, int kind, void *content)
{
	struct player *p = owner;

	if (p->left-- > 0)
		mailbox_send(p->other, kind + 1, content);
	if (p->left <= 0)
		loop_stop(p->loop);
}

static void play(void *owner)
{
	loop_run(((struct player *)owner)->loop);
}

TEST(mailbox, two_loops_answer_each_other)
{
	struct player a = { .loop = loop_new(), .left = 2000 }, b = { .loop = loop_new(), .left = 2000 };
	struct thread *thread;

	a.mine = b.other = mailbox_new(a.loop, hit_back, &a);
	b.mine = a.other = mailbox_new(b.loop, hit_back, &b);
	thread = thread_start("player", 0, play, &b);
	mailbox_send(a.mine, 0, NULL);
	loop_run(a.loop);
	thread_join(&thread);
	CHECK_INT(a.left, 0);
	CHECK_INT(b.left, 0);
	mailbox_free(&a.mine);
	mailbox_free(&b.mine);
	loop_free(&a.loop);
	loop_free(&b.loop);
}

static void count_letter(void *owner, int kind, void *content)
{
	(void)kind;
	mem_free(content);
	++*(int *)owner;
}

TEST(mailbox, what_was_not_delivered_is_when_it_is_freed)
{
	struct loop *loop = loop_new();
	int count = 0;
	struct mailbox *mailbox = mailbox_new(loop, count_letter, &count);

	for (int i = 0; i < 3; i++)
		mailbox_send(mailbox, 1, mem_alloc(10));
	mailbox_free(&mailbox);
	CHECK_INT(count, 3);
	CHECK(mailbox == NULL);
	loop_free(&loop);
}

/* ---- names ---- */

struct found {
	struct loop *loop;
	int calls, family;
	char sqlstate[6];
};

static void take_address(void *owner, const struct sockaddr_storage *addr, socklen_t len, const struct err *err)
{
	struct found *found = owner;

	found->calls++;
	found->family = len ? addr->ss_family : -1;
	snprintf(found->sqlstate, sizeof(found->sqlstate), "%s", err ? err->sqlstate : "");
	loop_stop(found->loop);
}

static struct found look_up(const char *host)
{
	struct found found = { .loop = loop_new() };

	loop_resolve(found.loop, host, 5432, take_address, &found);
	if (found.calls)
		found.calls = 100;      /* it must not be called before the look-up returns */
	loop_run(found.loop);
	loop_free(&found.loop);
	return found;
}

TEST(resolve, numbers_and_directories)
{
	char dir[200];
	struct found found = look_up("127.0.0.1");

	CHECK_INT(found.calls, 1);
	CHECK_INT(found.family, AF_INET);
	CHECK_INT(look_up("::1").family, AF_INET6);
	CHECK_INT(look_up("/tmp").family, AF_UNIX);
	memset(dir, 'x', sizeof(dir));
	dir[0] = '/';
	dir[sizeof(dir) - 1] = '\0';
	CHECK_STR(look_up(dir).sqlstate, "08001");
}
