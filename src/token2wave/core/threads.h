/* Work in phases, shared among threads. */
#ifndef TOKEN2WAVE_THREADS_H
#define TOKEN2WAVE_THREADS_H

#include <stdint.h>

/* Run phases of independent items of work until there are no more.

   next_phase is called by one thread alone, once all items of the phase before are done, and returns how
   many items the next phase has, at most 65,000, which leaves room for threads that reach for one item too
   many; 0 ends the run. work does one item. A thread that the
   system has put aside delays nobody unless it is in the middle of an item, which matters on machines that
   do other things as well. Where no thread can be started, fewer take part. */
void run_phases(int n_threads, int64_t (*next_phase)(void *argument),
                void (*work)(void *argument, int64_t item), void *argument);

/* The same with the threads of an OpenMP library, if one is in the process, as torch's is. Between two
   operations of torch its threads wait for the next one without sleeping, for some milliseconds: threads of
   our own would have to share the processors with them. */
void run_phases_in_pool(int n_threads, int64_t (*next_phase)(void *argument),
                        void (*work)(void *argument, int64_t item), void *argument);

/* Give the processor to another thread that wants it. */
void let_others_run(void);

#endif
