/* A linear SVM for each class: the weights w and the bias b that minimise
   |w - w0|^2 / 2 + sum_i cost_i max(0, 1 - y_i (w . x_i + b))^2 + (b - b0)^2 / 2
   by dual coordinate descent (Hsieh et al., ICML 2008, algorithm 1). w0 and b0 are the values that rows and
   bias hold at the start: zero, or an earlier solution. Element r of x_i is how often row r occurs in text i,
   times a, the root of the row's energy, over the root of the text's size. Character n-grams and dense features
   are further elements. The problem is solved for several factors of the cost, each from the solution of the
   one before. The slow twin is training/linear_svm.py. */
#pragma once

#include "layout.h"

typedef struct {
    int64_t n_rows, n_classes, n_factors, max_passes;
    ragged_texts texts;
    const int64_t *labels;    /* (N,); or */
    const float *targets;     /* (N, C) of a multi-label problem: a text has the classes above a half */
    const float *costs;       /* (N,), none below zero; a text without cost is skipped */
    const float *positive;    /* (C,) factors of a text's cost for its own classes, or NULL */
    const int64_t *gram_offsets; /* (V + 1,), character n-grams of each row, or NULL */
    const int32_t *grams;     /* numbers from 0 to G - 1 */
    int64_t n_grams;          /* G */
    const float *energies;    /* (V + G,) a^2 of the rows and of the n-grams */
    const float *dense;       /* (N, P) */
    int64_t n_dense;          /* P */
    float dense_energy;       /* a^2 of all dense features */
    const float *factors;     /* (K,) of all costs, in the order in which they are solved */
    float tolerance;          /* a class is solved once no text violates its conditions by more */
    uint64_t seed;            /* of the order of the texts, the same for all classes */
    float *alphas;            /* (N, C) dual variables, in: those to start from, 0 or more; out: the last */
    float *rows;              /* (K, V, C) in: a w0 at 0; out: a w, with the sum over the row's n-grams */
    float *bias;              /* (K, C) in: b0 at 0; out: b */
    float *gram_weights;      /* (K, G, C) out: a w */
    float *dense_weights;     /* (K, P, C) out: a w */
    int64_t *passes;          /* (K, C) out: for each factor, those of the class and its block */
} linear_svm_problem;

/* Solve all classes; the result does not depend on the number of threads. Returns -1 if memory ran out. */
int solve_linear_svm(const linear_svm_problem *problem, int n_threads);
