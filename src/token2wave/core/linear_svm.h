/* A linear SVM for each class: the weights w and the bias b of least
   |w - w0|^2 / 2 + sum_i cost_i max(0, 1 - y_i (w . x_i + b))^2 + (b - b0)^2 / 2, by dual coordinate descent (Hsieh
   et al., ICML 2008, algorithm 1). w0 and b0 are what rows and bias hold before: zero, or an earlier solution.
   A text's x_i has for each row its number of occurrences, times the row's information a, over the square root of
   the text's size. training/linear_svm.py is the slow twin. */
#ifndef TOKEN2WAVE_LINEAR_SVM_H
#define TOKEN2WAVE_LINEAR_SVM_H

#include "layout.h"

typedef struct {
    int64_t n_rows, n_classes, most_passes;
    ragged_texts texts;
    const int64_t *labels;    /* (N,); or */
    const float *targets;     /* (N, C) where more than one class may hold: those above a half do */
    const float *costs;       /* (N,), none below zero; a text of no cost is left out */
    const float *positive;    /* (C,) factors of a text's cost for the classes that it has, or NULL */
    const float *sizes;       /* (N,) by whose roots the texts are divided; zero for an empty text */
    const int64_t *gram_offsets; /* (V + 1,), n-grams that a row is made of, or NULL */
    const int32_t *grams;     /* numbered from 0 to G - 1 */
    int64_t n_grams;          /* G */
    const float *energies;    /* (V + G,) squared linear_svm, of the rows and of the n-grams */
    float tolerance;          /* a class is done once no text violates its conditions by more */
    uint64_t seed;            /* of the order of the texts, which is the same for all classes */
    float *rows;              /* (V, C) in: a w0; out: a w, with what the row's n-grams come to */
    float *bias;              /* (C,) in: b0; out: b */
} linear_svm_problem;

/* Solve all classes; the result does not depend on the number of threads. Returns the passes that the slowest
   class took, or -1 where memory ran out. */
int64_t solve_linear_svm(const linear_svm_problem *problem, int n_threads);

#endif
