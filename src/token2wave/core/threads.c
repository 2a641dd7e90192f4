#define _GNU_SOURCE /* for RTLD_DEFAULT */
#include "threads.h"

#include <stdatomic.h>

#if defined(__unix__) || defined(__APPLE__)
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#define HAS_THREADS 1
#define give_way() sched_yield()
#else
#define HAS_THREADS 0
#define give_way() (void)0
#endif

void let_others_run(void)
{
    give_way();
}

#define MAX_THREADS 64
#define SPINS 2000 /* some tens of microseconds, about as long as an item takes */

typedef struct {
    int64_t (*next_phase)(void *);
    void (*work)(void *, int64_t);
    void *argument;
    /* Number of the phase (32 bits), items it has (16), next item nobody has taken (16): in one number, so
       that a thread that comes late cannot mistake one phase's item for another's. */
    atomic_ullong ticket;
    atomic_llong done; /* items of this phase */
} phases;

#define PHASE_OF(ticket) ((ticket) >> 32)
#define ITEMS_OF(ticket) ((int64_t)((ticket) >> 16 & 0xFFFF))
#define ITEM_OF(ticket) ((int64_t)((ticket)&0xFFFF))

static void begin_phase(phases *shared, unsigned long long number)
{
    unsigned long long items = (unsigned long long)shared->next_phase(shared->argument);
    atomic_store_explicit(&shared->done, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->ticket, number << 32 | items << 16, memory_order_release);
}

static void take_part(phases *shared)
{
    for (;;) {
        unsigned long long ticket = atomic_load_explicit(&shared->ticket, memory_order_acquire);
        if (!ITEMS_OF(ticket))
            return;
        if (ITEM_OF(ticket) < ITEMS_OF(ticket))
            ticket = atomic_fetch_add_explicit(&shared->ticket, 1, memory_order_acq_rel);
        if (!ITEMS_OF(ticket))
            return;
        if (ITEM_OF(ticket) < ITEMS_OF(ticket)) {
            shared->work(shared->argument, ITEM_OF(ticket));
            if (atomic_fetch_add_explicit(&shared->done, 1, memory_order_acq_rel) + 1 == ITEMS_OF(ticket))
                begin_phase(shared, PHASE_OF(ticket) + 1);
            continue;
        }
        unsigned long long phase = PHASE_OF(ticket);
        for (int spins = 0; PHASE_OF(atomic_load_explicit(&shared->ticket, memory_order_acquire)) == phase;
             spins++) {
            if (spins >= SPINS)
                give_way();
#if defined(__x86_64__)
            else
                __builtin_ia32_pause();
#endif
        }
    }
}

#if HAS_THREADS
static void *thread_takes_part(void *shared)
{
    take_part(shared);
    return 0;
}
#endif

void run_phases(int n_threads, int64_t (*next_phase)(void *), void (*work)(void *, int64_t), void *argument)
{
    phases shared = {.next_phase = next_phase, .work = work, .argument = argument};
    begin_phase(&shared, 0);
#if HAS_THREADS
    pthread_t threads[MAX_THREADS];
    int n_more = 0;
    while (n_more + 1 < n_threads && n_more < MAX_THREADS &&
           !pthread_create(&threads[n_more], 0, thread_takes_part, &shared))
        n_more++;
    take_part(&shared);
    for (int i = 0; i < n_more; i++)
        pthread_join(threads[i], 0);
#else
    (void)n_threads;
    take_part(&shared);
#endif
}

#if HAS_THREADS
static void member_takes_part(void *shared)
{
    take_part(shared);
}
#endif

void run_phases_in_pool(int n_threads, int64_t (*next_phase)(void *), void (*work)(void *, int64_t),
                        void *argument)
{
#if HAS_THREADS
    /* The entry point that compilers call for a parallel region; GNU's and LLVM's libraries have it. It is
       looked for at every call, since torch may be imported after us. */
    void (*parallel)(void (*)(void *), void *, unsigned, unsigned) = 0;
    if (n_threads > 1)
        *(void **)&parallel = dlsym(RTLD_DEFAULT, "GOMP_parallel");
    if (parallel) {
        phases shared = {.next_phase = next_phase, .work = work, .argument = argument};
        begin_phase(&shared, 0);
        parallel(member_takes_part, &shared, (unsigned)n_threads, 0);
        return;
    }
#endif
    run_phases(n_threads, next_phase, work, argument);
}
