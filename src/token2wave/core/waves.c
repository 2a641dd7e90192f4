#include "waves.h"

#include <math.h>

#include "session.h"

/* Of `vectors` times eight columns from column k; the sums stay in registers. */
#define WAVE_OF_COLUMNS(vectors)                                                                      \
    do {                                                                                              \
        v8 first[vectors], sum[vectors], squares[vectors];                                            \
        for (int v = 0; v < vectors; v++) {                                                           \
            first[v] = READ(rows + (ids ? ids[0] : 0) * width + k + 8 * v);                           \
            sum[v] = squares[v] = ALL(0.0f);                                                          \
        }                                                                                             \
        for (int64_t i = 1; i < n; i++) {                                                             \
            const float *row = rows + (ids ? ids[i] : i) * width + k;                                 \
            if (ids && !k && i + AHEAD < n)                                                           \
                ask_for(rows + ids[i + AHEAD] * width, width);                                        \
            for (int v = 0; v < vectors; v++) {                                                       \
                v8 step = READ(row + 8 * v) - first[v];                                               \
                sum[v] += step;                                                                       \
                squares[v] += step * step;                                                            \
            }                                                                                         \
        }                                                                                             \
        for (int v = 0; v < vectors; v++) {                                                           \
            v8 shift = sum[v] * share, variance = squares[v] * share - shift * shift;                 \
            AT(mean + k + 8 * v) = first[v] + shift;                                                  \
            for (int j = 0; j < 8; j++)                                                               \
                deviation[k + 8 * v + j] = variance[j] > 0 ? sqrtf(variance[j]) : 0.0f;               \
        }                                                                                             \
    } while (0)

/* Mean and standard deviation of n rows, with differences taken from the first row: a text that repeats
   one token has a deviation of exactly zero. rows[i] is the i-th row where `ids` is NULL. */
HOT void text_wave(const float *rows, const int32_t *ids, int64_t n, int64_t width, float *mean,
                   float *deviation)
{
    if (!n) {
        memset(mean, 0, (size_t)width * sizeof *mean);
        memset(deviation, 0, (size_t)width * sizeof *deviation);
        return;
    }
    float share = 1.0f / (float)n;
    for (int64_t i = 1; ids && i < n && i < AHEAD; i++)
        ask_for(rows + ids[i] * width, width);
    for (int64_t k = 0; k < width; k += 32) {
        int64_t vectors = width - k < 32 ? (width - k) / 8 : 4;
        if (vectors == 4)
            WAVE_OF_COLUMNS(4);
        else if (vectors == 3)
            WAVE_OF_COLUMNS(3);
        else if (vectors == 2)
            WAVE_OF_COLUMNS(2);
        else
            WAVE_OF_COLUMNS(1);
    }
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(TOKEN2WAVE_PLAIN)
#include <immintrin.h>

/* The same with the processor's own conversion, which gcc does not find by itself: sixteen columns at a time. */
__attribute__((target("avx2,fma"))) static void add_rows_avx2(const float *rows, int64_t stride, const int32_t *ids,
                                                              int64_t n, int64_t width, double *sum,
                                                              double *squares)
{
    for (int64_t k = 0; k < width; k += 16) {
        int vectors = width - k < 16 ? 2 : 4;
        __m256d total[4], energy[4];
        for (int v = 0; v < 4; v++) {
            total[v] = v < vectors ? _mm256_loadu_pd(sum + k + 4 * v) : _mm256_setzero_pd();
            energy[v] = v < vectors ? _mm256_loadu_pd(squares + k + 4 * v) : _mm256_setzero_pd();
        }
        if (vectors == 4)
            for (int64_t i = 0; i < n; i++) {
                const float *row = rows + (ids ? ids[i] : i) * stride + k;
                if (ids && !k && i + AHEAD < n)
                    ask_for(rows + ids[i + AHEAD] * stride, width);
                for (int v = 0; v < 4; v++) {
                    __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(row + 4 * v));
                    total[v] = _mm256_add_pd(total[v], value);
                    energy[v] = _mm256_fmadd_pd(value, value, energy[v]);
                }
            }
        else
            for (int64_t i = 0; i < n; i++) {
                const float *row = rows + (ids ? ids[i] : i) * stride + k;
                for (int v = 0; v < 2; v++) {
                    __m256d value = _mm256_cvtps_pd(_mm_loadu_ps(row + 4 * v));
                    total[v] = _mm256_add_pd(total[v], value);
                    energy[v] = _mm256_fmadd_pd(value, value, energy[v]);
                }
            }
        for (int v = 0; v < vectors; v++) {
            _mm256_storeu_pd(sum + k + 4 * v, total[v]);
            _mm256_storeu_pd(squares + k + 4 * v, energy[v]);
        }
    }
}
#define HAS_AVX2() (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
#else
#define HAS_AVX2() 0
#define add_rows_avx2(...)
#endif

/* Of `vectors` times four columns from column k. */
#define ADD_COLUMNS(vectors)                                                                          \
    do {                                                                                              \
        v4d total[vectors], energy[vectors];                                                          \
        for (int v = 0; v < vectors; v++) {                                                           \
            total[v] = *(const v4d_unaligned *)(sum + k + 4 * v);                                     \
            energy[v] = *(const v4d_unaligned *)(squares + k + 4 * v);                                \
        }                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                             \
            const float *row = rows + (ids ? ids[i] : i) * stride + k;                                \
            if (ids && !k && i + AHEAD < n)                                                           \
                ask_for(rows + ids[i + AHEAD] * stride, width);                                       \
            for (int v = 0; v < vectors; v++) {                                                       \
                v4d value = __builtin_convertvector(*(const v4_unaligned *)(row + 4 * v), v4d);       \
                total[v] += value;                                                                    \
                energy[v] += value * value;                                                           \
            }                                                                                         \
        }                                                                                             \
        for (int v = 0; v < vectors; v++) {                                                           \
            *(v4d_unaligned *)(sum + k + 4 * v) = total[v];                                           \
            *(v4d_unaligned *)(squares + k + 4 * v) = energy[v];                                      \
        }                                                                                             \
    } while (0)

void add_rows(const float *rows, int64_t stride, const int32_t *ids, int64_t n, int64_t width, double *sum,
              double *squares)
{
    int64_t k = 0;
    for (int64_t i = 0; ids && i < n && i < AHEAD; i++)
        ask_for(rows + ids[i] * stride, width);
    if (HAS_AVX2()) {
        add_rows_avx2(rows, stride, ids, n, width, sum, squares);
        return;
    }
    for (; k + 16 <= width; k += 16)
        ADD_COLUMNS(4);
    for (; k < width; k += 8)
        ADD_COLUMNS(2);
}

void mean_and_deviation(int64_t n, int64_t width, const double *sum, const double *squares, float *mean,
                        float *deviation)
{
    double share = n ? 1.0 / (double)n : 0.0;
    for (int64_t k = 0; k < width; k++) {
        double middle = sum[k] * share, variance = squares[k] * share - middle * middle;
        mean[k] = (float)middle;
        deviation[k] = variance > 0 ? (float)sqrt(variance) : 0.0f;
    }
}

/* From the gradients at mean and deviation to `constant` and `factor`: the gradient at a row w of the text
   is constant + factor w. */
HOT void text_wave_backward(int64_t n, int64_t width, const float *mean, const float *deviation,
                            const float *d_mean, const float *d_deviation, float *constant,
                            float *factor)
{
    float share = n ? 1.0f / (float)n : 0.0f;
    for (int64_t k = 0; k < width; k++) {
        float ratio = deviation[k] > 0 ? d_deviation[k] * share / deviation[k] : 0.0f;
        constant[k] = d_mean[k] * share - mean[k] * ratio;
        factor[k] = ratio;
    }
}

/* Overlay of two waves: out = (Re, Im), 2 * width numbers. */
HOT void overlay(int modulates, int64_t width, const float *real, const float *imaginary,
                 const float *real2, const float *imaginary2, float *out)
{
    for (int64_t k = 0; k < width; k++) {
        float w = real[k], s = imaginary[k], w2 = real2[k], s2 = imaginary2[k];
        out[k] = modulates ? w * w2 - s * s2 : w + w2;
        out[width + k] = modulates ? w * s2 + w2 * s : s + s2;
    }
}

HOT void overlay_backward(int modulates, int64_t width, const float *real, const float *imaginary,
                          const float *real2, const float *imaginary2, const float *d_out,
                          float *d_real, float *d_imaginary, float *d_real2, float *d_imaginary2)
{
    for (int64_t k = 0; k < width; k++) {
        float a = d_out[k], b = d_out[width + k];
        d_real[k] = modulates ? a * real2[k] + b * imaginary2[k] : a;
        d_imaginary[k] = modulates ? b * real2[k] - a * imaginary2[k] : b;
        d_real2[k] = modulates ? a * real[k] + b * imaginary[k] : a;
        d_imaginary2[k] = modulates ? b * real[k] - a * imaginary[k] : b;
    }
}

/* Magnitude of the neighbours of each of n words on one side; rows are `stride` floats apart. */
HOT void neighbours(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                    int64_t stride, float *magnitude)
{
    for (int64_t j = 0; j < n; j++) {
        int64_t low = left ? (j > radius ? j - radius : 0) : j + 1;
        int64_t high = left ? j : (n - 1 - j > radius ? j + radius + 1 : n);
        for (int64_t k = 0; k < width; k += 8) {
            v8 sum = ALL(0.0f);
            for (int64_t i = low; i < high; i++) {
                v8 value = READ(values + i * stride + k);
                sum += value * value;
            }
            for (int v = 0; v < 8; v++)
                magnitude[j * width + k + v] = sqrtf(sum[v]);
        }
    }
}

/* Add to each word's gradient what its neighbours' magnitudes give it; d_magnitude is overwritten. */
HOT void neighbours_backward(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                             int64_t stride, const float *magnitude, float *d_magnitude,
                             float *d_values)
{
    for (int64_t i = 0; i < n * width; i++)
        d_magnitude[i] = magnitude[i] > 0 ? d_magnitude[i] / magnitude[i] : 0.0f;
    for (int64_t j = 0; j < n; j++) { /* a left neighbour sees word j from its right */
        int64_t low = left ? j + 1 : (j > radius ? j - radius : 0);
        int64_t high = left ? (n - 1 - j > radius ? j + radius + 1 : n) : j;
        for (int64_t k = 0; k < width; k += 8) {
            v8 sum = ALL(0.0f);
            for (int64_t i = low; i < high; i++)
                sum += READ(d_magnitude + i * width + k);
            AT(d_values + j * stride + k) += READ(values + j * stride + k) * sum;
        }
    }
}
