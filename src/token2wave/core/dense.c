#include "dense.h"

#include <math.h>

#define NORM_EPSILON 1e-5f

#define BLOCK_K 512 /* rows of B at once: more classes than that do not fit the cache */
#define BLOCK_M 96  /* rows of A at once, a multiple of the tiles' */

/* A tile of C, `rows` by 8 * `vectors`, kept in registers over all of K. */
#define TILE(rows, vectors)                                                                           \
    do {                                                                                              \
        v8 sum[rows][vectors];                                                                        \
        for (int i = 0; i < rows; i++)                                                                \
            for (int j = 0; j < vectors; j++)                                                         \
                sum[i][j] = ALL(0.0f);                                                                \
        for (int64_t k = 0; k < K; k++) {                                                             \
            v8 right[vectors];                                                                        \
            for (int j = 0; j < vectors; j++)                                                         \
                right[j] = READ(b + k * n_b + n + 8 * j);                                             \
            for (int i = 0; i < rows; i++) {                                                          \
                v8 left = ALL(a[(m + i) * a_row + k * a_column]);                                     \
                for (int j = 0; j < vectors; j++)                                                     \
                    sum[i][j] += left * right[j];                                                     \
            }                                                                                         \
        }                                                                                             \
        for (int i = 0; i < rows; i++)                                                                \
            for (int j = 0; j < vectors; j++)                                                         \
                AT(c + (m + i) * n_c + n + 8 * j) =                                                   \
                    add ? (v8)(READ(c + (m + i) * n_c + n + 8 * j) + sum[i][j]) : sum[i][j];          \
    } while (0)

/* C (M, N) = [C +] A (M, K) B (K, N) for blocks that fit the cache; see multiply. */
INLINE void multiply_block(int64_t M, int64_t N, int64_t K, const float *a, int64_t a_row, int64_t a_column,
                           const float *b, int64_t n_b, float *c, int64_t n_c, int add)
{
    int64_t n = 0;
    for (; n + 16 <= N; n += 16) {
        int64_t m = 0;
        for (; m + 6 <= M; m += 6)
            TILE(6, 2);
        for (; m + 2 <= M; m += 2)
            TILE(2, 2);
        for (; m < M; m++)
            TILE(1, 2);
    }
    for (; n + 8 <= N; n += 8) {
        int64_t m = 0;
        for (; m + 4 <= M; m += 4)
            TILE(4, 1);
        for (; m < M; m++)
            TILE(1, 1);
    }
    for (; n < N; n++)
        for (int64_t m = 0; m < M; m++) {
            float sum = add ? c[m * n_c + n] : 0.0f;
            for (int64_t k = 0; k < K; k++)
                sum += a[m * a_row + k * a_column] * b[k * n_b + n];
            c[m * n_c + n] = sum;
        }
}

HOT void multiply(int64_t M, int64_t N, int64_t K, const float *a, int64_t a_row, int64_t a_column,
                  const float *b, int64_t n_b, float *c, int64_t n_c, int add)
{
    int64_t k = 0;
    do { /* once if K is 0: C is written then, too */
        int64_t n_k = K - k < BLOCK_K ? K - k : BLOCK_K;
        for (int64_t m = 0; m < M; m += BLOCK_M)
            multiply_block(M - m < BLOCK_M ? M - m : BLOCK_M, N, n_k, a + m * a_row + k * a_column, a_row,
                           a_column, b + k * n_b, n_b, c + m * n_c, n_c, add || k);
        k += n_k;
    } while (k < K);
}

void linear(int64_t M, int64_t N, int64_t K, const float *x, const float *transposed, const float *bias,
            float *y)
{
    for (int64_t m = 0; m < M; m++)
        memcpy(y + m * N, bias, (size_t)N * sizeof *y);
    multiply(M, N, K, x, K, 1, transposed, N, y, N, 1);
}

void linear_backward(int64_t M, int64_t N, int64_t K, const float *dy, const float *x, const float *weight,
                     float *dx, float *d_weight, float *d_bias)
{
    if (dx)
        multiply(M, K, N, dy, N, 1, weight, K, dx, K, 0);
    multiply(N, K, M, dy, 1, N, x, K, d_weight, K, 1);
    for (int64_t m = 0; m < M; m++)
        for (int64_t n = 0; n < N; n++)
            d_bias[n] += dy[m * N + n];
}

INLINE float total(v8 x)
{
    return ((x[0] + x[4]) + (x[2] + x[6])) + ((x[1] + x[5]) + (x[3] + x[7]));
}

HOT void normalise(int64_t M, int64_t N, const float *x, const float *scale, const float *shift, float *y,
                   float *normal, float *inverse)
{
    for (int64_t m = 0; m < M; m++, x += N, y += N, normal += N) {
        v8 sum = ALL(0.0f), squares = ALL(0.0f);
        for (int64_t n = 0; n < N; n += 8)
            sum += READ(x + n);
        v8 mean = ALL(total(sum) / (float)N);
        for (int64_t n = 0; n < N; n += 8) {
            v8 centred = READ(x + n) - mean;
            squares += centred * centred;
        }
        float factor = 1.0f / sqrtf(total(squares) / (float)N + NORM_EPSILON);
        inverse[m] = factor;
        for (int64_t n = 0; n < N; n += 8) {
            v8 normalised = (READ(x + n) - mean) * factor;
            AT(normal + n) = normalised;
            AT(y + n) = normalised * READ(scale + n) + READ(shift + n);
        }
    }
}

HOT void normalise_backward(int64_t M, int64_t N, const float *dy, const float *normal, const float *inverse,
                            const float *scale, float *dx, float *d_scale, float *d_shift)
{
    for (int64_t m = 0; m < M; m++, dy += N, dx += N, normal += N) {
        v8 sum = ALL(0.0f), along = ALL(0.0f);
        for (int64_t n = 0; n < N; n += 8) {
            v8 gradient = READ(dy + n), unit = READ(normal + n);
            AT(d_scale + n) += gradient * unit;
            AT(d_shift + n) += gradient;
            gradient *= READ(scale + n);
            sum += gradient;
            along += gradient * unit;
        }
        v8 mean = ALL(total(sum) / (float)N), mean_along = ALL(total(along) / (float)N);
        for (int64_t n = 0; n < N; n += 8)
            AT(dx + n) = (READ(dy + n) * READ(scale + n) - mean - READ(normal + n) * mean_along) * inverse[m];
    }
}

/* exp(x) for x <= 0, to 2 units in the last place: 2^n times a polynomial on [-ln 2 / 2, ln 2 / 2]. */
INLINE v8 exponential(v8 x)
{
    v8 lowest = ALL(-87.0f);
    v8i below = x < lowest;
    x = (v8)((below & (v8i)lowest) | (~below & (v8i)x));
    v8 shifter = ALL(12582912.0f); /* 1.5 * 2^23: adding it rounds to an integer */
    v8 shifted = x * 1.44269504f + shifter;
    v8 n = shifted - shifter;
    v8 r = x - n * 0.693145752f - n * 1.42860677e-6f;
    v8 p = ALL(1.0f / 720.0f);
    p = p * r + 1.0f / 120.0f;
    p = p * r + 1.0f / 24.0f;
    p = p * r + 1.0f / 6.0f;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    v8i exponent = ((v8i)shifted - (v8i)shifter + 127) << 23;
    return p * (v8)exponent;
}

HOT void exponentials(int64_t n, float highest, float *x)
{
    int64_t i = 0;
    for (; i + 8 <= n; i += 8)
        AT(x + i) = exponential(READ(x + i) - highest);
    if (i < n) {
        v8 padding = ALL(highest);
        float rest[8];
        AT(rest) = padding;
        memcpy(rest, x + i, (size_t)(n - i) * sizeof *x);
        AT(rest) = exponential(READ(rest) - highest);
        memcpy(x + i, rest, (size_t)(n - i) * sizeof *x);
    }
}

HOT void gelu(int64_t n, const float *x, float *y, float *slope)
{
    for (int64_t i = 0; i < n; i += 8) {
        v8 value = READ(x + i);
        v8i negative = value < ALL(0.0f);
        v8 size = (v8)((v8i)value & 0x7FFFFFFF);
        v8 bell = exponential(value * value * -0.5f);
        /* 1 - Phi of the size: Abramowitz and Stegun, 7.1.26, absolute error 1.5e-7 */
        v8 t = 1.0f / (1.0f + size * (0.3275911f * 0.707106781f));
        v8 tail = ((((1.061405429f * t - 1.453152027f) * t + 1.421413741f) * t - 0.284496736f) * t +
                   0.254829592f) * t * bell * 0.5f;
        v8 above = 1.0f - tail;
        v8 phi = (v8)((negative & (v8i)tail) | (~negative & (v8i)above));
        AT(y + i) = value * phi;
        AT(slope + i) = phi + value * bell * 0.39894228f;
    }
}

void transpose(int64_t N, int64_t K, const float *weight, float *transposed)
{
    for (int64_t n = 0; n < N; n++)
        for (int64_t k = 0; k < K; k++)
            transposed[k * N + n] = weight[n * K + k];
}

HOT void adam(int64_t first, int64_t last, float *weights, const float *gradients, float *mean, float *square,
              int64_t step, adam_settings settings)
{
    float rate = (float)(settings.rate / (1.0 - pow(settings.beta_mean, (double)step)));
    float correction = (float)(1.0 / sqrt(1.0 - pow(settings.beta_square, (double)step)));
    float decay = 1.0f - settings.rate * settings.weight_decay;
    for (int64_t i = first; i < last; i++) {
        float g = gradients[i];
        mean[i] += (g - mean[i]) * (1.0f - settings.beta_mean);
        square[i] = square[i] * settings.beta_square + g * g * (1.0f - settings.beta_square);
        weights[i] = weights[i] * decay - rate * mean[i] / (sqrtf(square[i]) * correction + settings.epsilon);
    }
}
