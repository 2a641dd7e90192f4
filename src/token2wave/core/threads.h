/* Work in phases, shared among threads. */
#pragma once

#include <stdint.h>

/* Run phases of independent items of work until there are no more.

   One thread alone calls next_phase, once all items of the previous phase are done. It returns how many items
   the next phase has, at most 65,000 (a thread may reach for one item too many); 0 ends the run. work does
   one item. A thread that the system suspends delays the others only in the middle of an item. If the system
   starts fewer threads, those do all the work. */
void run_phases(int n_threads, int64_t (*next_phase)(void *argument),
                void (*work)(void *argument, int64_t item), void *argument);
