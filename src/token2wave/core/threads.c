#include "threads.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>

#include "extensions.h"

#define MAX_THREADS 64
#define SPINS 2000 /* some tens of microseconds, about as long as an item takes */

typedef struct {
    int64_t (*next_phase)(void *);
    void (*work)(void *, int64_t);
    void *argument;
    /* Number of the phase (32 bits), its items (16) and the next free item (16), in one number: so a late
       thread cannot mistake the item of one phase for that of another. */
    atomic_ullong ticket;
    atomic_llong n_done; /* items of this phase */
} phases;

#define PHASE_OF(ticket) ((ticket) >> 32)
#define ITEMS_OF(ticket) ((int64_t)((ticket) >> 16 & 0xFFFF))
#define ITEM_OF(ticket) ((int64_t)((ticket)&0xFFFF))

static void begin_phase(phases *shared, unsigned long long number)
{
    unsigned long long items = (unsigned long long)shared->next_phase(shared->argument);
    atomic_store_explicit(&shared->n_done, 0, memory_order_relaxed);
    atomic_store_explicit(&shared->ticket, number << 32 | items << 16, memory_order_release);
}

static void work_on(phases *shared)
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
            if (atomic_fetch_add_explicit(&shared->n_done, 1, memory_order_acq_rel) + 1 == ITEMS_OF(ticket))
                begin_phase(shared, PHASE_OF(ticket) + 1);
            continue;
        }
        unsigned long long phase = PHASE_OF(ticket);
        for (int spins = 0; PHASE_OF(atomic_load_explicit(&shared->ticket, memory_order_acquire)) == phase;
             spins++) {
            if (spins >= SPINS)
                sched_yield();
            else
                PAUSE();
        }
    }
}

static void *run_thread(void *shared)
{
    work_on(shared);
    return 0;
}

void run_phases(int n_threads, int64_t (*next_phase)(void *), void (*work)(void *, int64_t), void *argument)
{
    phases shared = {.next_phase = next_phase, .work = work, .argument = argument};
    begin_phase(&shared, 0);
    pthread_t threads[MAX_THREADS];
    int n_more = 0;
    while (n_more + 1 < n_threads && n_more < MAX_THREADS &&
           !pthread_create(&threads[n_more], 0, run_thread, &shared))
        n_more++;
    work_on(&shared);
    for (int i = 0; i < n_more; i++)
        pthread_join(threads[i], 0);
}
