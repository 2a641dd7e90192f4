/* Training of networks with variants "rows" and read-out "text", with or without a context branch. The slow
   twin is models/wave_network.py; names and order of the parameters are those of PyTorch. */
#pragma once

#include "dense.h"
#include "layout.h"

typedef struct {
    float row_rate, dropout, token_dropout, label_smoothing;
    int64_t batch_size, first_step; /* steps count from 0 over the whole run */
    int64_t context_words; /* of a text, consecutive ones, that the context branch learns from in a step; 0: all */
    uint64_t seed;
    adam_settings adam;             /* its rate is that of the peak */
    const float *row_rates;         /* (V,) factors of row_rate */
    const float *text_weights;      /* (N,) weights of the texts in the loss */
    const float *positive_weights;  /* (C,) weights of the classes that a text has, multi-label; or NULL */
    const float *rate_factors;      /* (steps,) factors of both rates in each step of this call */
} training_settings;

typedef struct {
    float *embedding;               /* (V, R), R = 2 D */
    float *dense;                   /* all other parameters */
    float *mean, *square;           /* Adam's moments of the dense part */
    int32_t *slots;                 /* (V,), all -1 between calls */
} network_state;

typedef struct {
    const int64_t *labels;          /* (N,) true class of each text */
    const float *targets;           /* (N, C) from 0 to 1; NULL if the labels are the targets */
} truth;

/* Train on texts[order[0]], texts[order[1]], ... in batches. Adds the summed loss and the number of right
   predictions to totals[0] and totals[1]. Returns 0, or -1 if memory ran out. */
int train_network(network_shape shape, network_state state, ragged_texts texts, truth truth,
                  const int64_t *order, int64_t n_order, training_settings settings, int n_threads,
                  double *totals);
