/* Waves of a text and of its words, and their gradients. The slow twin is waves/levels.py. */
#pragma once

#include <stdint.h>

/* Mean and standard deviation of n rows in single precision, for training; row number ids[i] of `rows`, or i
   where `ids` is NULL. */
void text_wave(const float *rows, const int32_t *ids, int64_t n, int64_t width, float *mean,
               float *deviation);

/* Add n rows of `width` numbers, and their squares, to sums in double precision. Row i begins at
   rows + ids[i] * stride, or rows + i * stride where `ids` is NULL. */
void add_rows(const float *rows, int64_t stride, const int32_t *ids, int64_t n, int64_t width, double *sum,
              double *squares);

/* Mean and standard deviation of n rows from their sums; zero for none. */
void mean_and_deviation(int64_t n, int64_t width, const double *sum, const double *squares, float *mean,
                        float *deviation);

/* The gradient at a row w of the text is constant + factor w. */
void text_wave_backward(int64_t n, int64_t width, const float *mean, const float *deviation,
                        const float *d_mean, const float *d_deviation, float *constant,
                        float *factor);

/* Interference, or modulation, of two waves: out = (Re, Im), 2 * width numbers. */
void overlay(int modulates, int64_t width, const float *real, const float *imaginary,
             const float *real2, const float *imaginary2, float *out);

void overlay_backward(int modulates, int64_t width, const float *real, const float *imaginary,
                      const float *real2, const float *imaginary2, const float *d_out,
                      float *d_real, float *d_imaginary, float *d_real2, float *d_imaginary2);

/* Magnitude of the neighbours of each word on one side; rows of `values` are `stride` floats apart. */
void neighbours(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                int64_t stride, float *magnitude);

/* Add each word's gradient from the magnitudes of its neighbours; d_magnitude is overwritten. */
void neighbours_backward(int64_t n, int64_t width, int64_t radius, int left, const float *values,
                         int64_t stride, const float *magnitude, float *d_magnitude,
                         float *d_values);
