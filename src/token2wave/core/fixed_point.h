/* Matrix products in block fixed point: float32 in and out, 16-bit integers within.

   Every vector along the contracted dimension, cut into pieces, is scaled to integers by the L2 norm of each
   piece. The scale keeps that norm below 2^15.5, so that by Cauchy-Schwarz no product of two pieces leaves
   int32, whatever the numbers are. An element of the result is wrong by about 9e-6 of the product of the
   norms of its two vectors, and never by more than 9e-4 of it. With vectors of several hundred numbers that
   is TF32's precision, a tenth of bfloat16's error.

   Vectors shorter than 1e-34 lose digits. A vector with a NaN or an infinity, or with a norm beyond float32,
   makes every element that it takes part in NaN. */
#ifndef TOKEN2WAVE_FIXED_POINT_H
#define TOKEN2WAVE_FIXED_POINT_H

#include <stdint.h>

/* Whether this processor can: it needs AVX2. */
int fixed_point_available(void);

/* C (M, N) = A B, with A (M, K), or (K, M) where it is given transposed, and B (K, N), or (N, K). All bits
   of C are the same for any number of threads. It must be available. Returns 1 if memory ran out. */
int fixed_point_product(int64_t M, int64_t N, int64_t K, const float *a, int a_transposed, const float *b,
                        int b_transposed, float *c, int n_threads);

#endif
