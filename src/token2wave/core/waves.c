#include "waves.h"

#include <math.h>

#include "session.h"

/* Mean and deviation of `vectors` times eight columns from column k; the sums stay in registers. */
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
                prefetch_row(rows + ids[i + AHEAD] * width, width);                                        \
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

/* It sums differences from the first row, so that a text of one repeated token has a deviation of exactly
   zero. */
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
        prefetch_row(rows + ids[i] * width, width);
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

/* `vectors` times four columns from column k; `widen` turns four floats at a pointer into doubles. */
#define ADD_COLUMNS(vectors, widen)                                                                   \
    do {                                                                                              \
        v4d total[vectors], energy[vectors];                                                          \
        for (int v = 0; v < vectors; v++) {                                                           \
            total[v] = *(const v4d_unaligned *)(sum + k + 4 * v);                                     \
            energy[v] = *(const v4d_unaligned *)(squares + k + 4 * v);                                \
        }                                                                                             \
        for (int64_t i = 0; i < n; i++) {                                                             \
            const float *row = rows + (ids ? ids[i] : i) * stride + k;                                \
            if (ids && !k && i + AHEAD < n)                                                           \
                prefetch_row(rows + ids[i + AHEAD] * stride, stride);                                 \
            for (int v = 0; v < vectors; v++) {                                                       \
                v4d value = widen(row + 4 * v);                                                       \
                total[v] += value;                                                                    \
                energy[v] += value * value;                                                           \
            }                                                                                         \
        }                                                                                             \
        for (int v = 0; v < vectors; v++) {                                                           \
            *(v4d_unaligned *)(sum + k + 4 * v) = total[v];                                           \
            *(v4d_unaligned *)(squares + k + 4 * v) = energy[v];                                      \
        }                                                                                             \
    } while (0)

/* Sixteen columns at a time. */
#define ADD_ALL_COLUMNS(widen)                                                                        \
    do {                                                                                              \
        int64_t k = 0;                                                                                \
        for (; k + 16 <= width; k += 16)                                                              \
            ADD_COLUMNS(4, widen);                                                                    \
        for (; k < width; k += 8)                                                                     \
            ADD_COLUMNS(2, widen);                                                                    \
    } while (0)

#ifdef WIDEN_AVX2
FOR_AVX2
static void add_rows_avx2(const float *rows, int64_t stride, const int32_t *ids, int64_t n, int64_t width,
                          double *sum, double *squares)
{
    ADD_ALL_COLUMNS(WIDEN_AVX2);
}
#endif

void add_rows(const float *rows, int64_t stride, const int32_t *ids, int64_t n, int64_t width, double *sum,
              double *squares)
{
    for (int64_t i = 0; ids && i < n && i < AHEAD; i++)
        prefetch_row(rows + ids[i] * stride, stride);
#ifdef WIDEN_AVX2
    if (HAS_AVX2()) {
        add_rows_avx2(rows, stride, ids, n, width, sum, squares);
        return;
    }
#endif
    ADD_ALL_COLUMNS(WIDEN);
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

HOT void neighbours_backward(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                             int64_t stride, const float *magnitude, float *d_magnitude,
                             float *d_values)
{
    for (int64_t i = 0; i < n * width; i++)
        d_magnitude[i] = magnitude[i] > 0 ? d_magnitude[i] / magnitude[i] : 0.0f;
    for (int64_t j = 0; j < n; j++) { /* word j lies to the right of its left neighbours */
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
