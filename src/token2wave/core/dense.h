/* Dense arithmetic of small networks, in vectors of eight floats. All widths but the classes' are
   multiples of eight. */
#pragma once

#include <stdint.h>
#include <string.h>

#include "extensions.h"

#define AT(pointer) (*(v8_unaligned *)(pointer))
#define READ(pointer) (*(const v8_unaligned *)(pointer))
#define ALL(number) ((v8){0} + (number))

/* C (M, N) = [C +] A (M, K) B (K, N). Element (m, k) of A is at a[m * a_row + k * a_column]; rows of B
   and C are n_b and n_c floats apart. N of any size. */
void multiply(int64_t M, int64_t N, int64_t K, const float *a, int64_t a_row, int64_t a_column,
              const float *b, int64_t n_b, float *c, int64_t n_c, int add);

/* Y (M, N) = X (M, K) W^T + bias, from W transposed, (K, N). */
void linear(int64_t M, int64_t N, int64_t K, const float *x, const float *transposed, const float *bias,
            float *y);

/* dX (M, K) = dY (M, N) W, with W (N, K); dW += dY^T X; dbias += sum of dY. dX may be NULL. */
void linear_backward(int64_t M, int64_t N, int64_t K, const float *dy, const float *x, const float *weight,
                     float *dx, float *d_weight, float *d_bias);

/* Layer normalisation of each row, with PyTorch's epsilon of 1e-5. The backward pass needs normal, the rows
   before scale and shift, and inverse, one over the deviation of each row. */
void normalise(int64_t M, int64_t N, const float *x, const float *scale, const float *shift, float *y,
               float *normal, float *inverse);
void normalise_backward(int64_t M, int64_t N, const float *dy, const float *normal, const float *inverse,
                        const float *scale, float *dx, float *d_scale, float *d_shift);

/* x = exp(x - highest) of n numbers, none above the highest, to 2 units in the last place; at least e^-87. */
void exponentials(int64_t n, float highest, float *x);

/* GELU, x Phi(x), and its derivative. n is a multiple of eight. */
void gelu(int64_t n, const float *x, float *y, float *slope);

/* Transpose W (N, K) into (K, N). */
void transpose(int64_t N, int64_t K, const float *weight, float *transposed);

/* torch.optim.AdamW on numbers first .. last. step counts from 1. */
typedef struct {
    float rate, weight_decay, beta_mean, beta_square, epsilon;
} adam_settings;
void adam(int64_t first, int64_t last, float *weights, const float *gradients, float *mean, float *square,
          int64_t step, adam_settings settings);

/* SplitMix64 of a key and a counter. */
INLINE uint64_t random_bits(uint64_t key, uint64_t counter)
{
    uint64_t z = key + (counter + 1) * 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    return z ^ (z >> 31);
}

/* A float in [0, 1) of 24 of these bits. */
INLINE float uniform(uint64_t key, uint64_t counter)
{
    return (float)(random_bits(key, counter) >> 40) * 0x1p-24f;
}
