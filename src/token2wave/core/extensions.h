/* Everything that the core needs beyond ISO C11 and POSIX threads, but for the large pages of memory.c. gcc
   and clang have it. Other compilers do not build the core: setup.py leaves it out on Windows, and numpy
   computes instead. */
#pragma once

#include <stdint.h>

#ifndef __GNUC__
#error "the core needs gcc or clang; without the core, token2wave computes with numpy"
#endif

/* Vectors: C11 has none, and compilers do not vectorise all of these loops. Arrays and loops over their
   elements would replace them, more slowly. Whatever takes or returns a vector is inlined, so how vectors are
   passed does not matter: setup.py silences gcc's note about it, too. */
#pragma GCC diagnostic ignored "-Wpsabi"
typedef float v8 __attribute__((vector_size(32)));
typedef float v8_unaligned __attribute__((vector_size(32), aligned(4), may_alias));
typedef int32_t v8i __attribute__((vector_size(32)));
typedef double v4d __attribute__((vector_size(32)));
typedef double v4d_unaligned __attribute__((vector_size(32), aligned(8), may_alias));
typedef float v4_unaligned __attribute__((vector_size(16), aligned(4), may_alias));

/* HOT functions are compiled for plain x86-64 and for processors with AVX2 and FMA; loading the library
   chooses. Elsewhere there is one version. TOKEN2WAVE_PLAIN leaves out all that needs AVX2. */
#if defined(__x86_64__) && defined(__GLIBC__) && !defined(__clang__) && __GNUC__ >= 12 && \
    !defined(TOKEN2WAVE_PLAIN)
#define HOT __attribute__((target_clones("default", "arch=x86-64-v3")))
#else
#define HOT
#endif

/* Inlined in any case, so that each version of a HOT function has its own. Plain `inline` would be slower. */
#define INLINE static inline __attribute__((always_inline))

/* Four floats at a pointer as doubles, which a loop could do. gcc does not find the instruction of AVX2 for
   it. */
#define WIDEN(pointer) __builtin_convertvector(*(const v4_unaligned *)(pointer), v4d)
#if defined(__x86_64__) && !defined(TOKEN2WAVE_PLAIN)
#include <immintrin.h>
#define FOR_AVX2 __attribute__((target("avx2,fma")))
#define HAS_AVX2() (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#define WIDEN_AVX2(pointer) (v4d)_mm256_cvtps_pd(_mm_loadu_ps(pointer))
#endif

/* Hints to the processor: fetch memory that is needed soon, and wait for another thread. They may be
   empty. */
#define PREFETCH(...) __builtin_prefetch(__VA_ARGS__)
#ifdef __x86_64__
#define PAUSE() __builtin_ia32_pause()
#else
#define PAUSE() ((void)0)
#endif

/* How many of 64 bits are set, in one instruction where there is one. A loop could do it. */
#define COUNT_BITS(bits) __builtin_popcountll(bits)

/* A function as void *, which slots of Python's modules hold: POSIX allows it, ISO C does not. */
#define FUNCTION_POINTER(function) (__extension__(void *)(function))
