/* Training and prediction of networks that read a text out as one wave, straight from the rows of the
   embedding (variants "rows"), with or without a phrase level. The mathematics is that of models/network.py,
   which is the slow twin in the tests; names and order of the parameters are PyTorch's. */
#ifndef TOKEN2WAVE_NETWORK_H
#define TOKEN2WAVE_NETWORK_H

#include <stdint.h>

#include "dense.h"

typedef struct {
    int64_t n_rows, n_classes;
    int64_t width;        /* D; a row of the embedding holds both variants, 2 D numbers */
    int64_t phrase_width; /* P; 0 without a phrase level */
    int64_t radius;
    int modulates;        /* else the waves interfere */
} network_shape;

typedef struct {
    int64_t n_texts;
    const int32_t *ids;
    const int64_t *offsets, *n_ordered;
} ragged_texts;

typedef struct {
    float row_rate, dropout, token_dropout, label_smoothing;
    int64_t batch_size, first_step; /* first_step counts from 0 over the whole run */
    uint64_t seed;
    adam_settings adam;             /* its rate is the peak */
    const float *row_rates;         /* (V,) factors of the rows' rate */
    const float *rate_factors;      /* of each step of this call */
} training_settings;

typedef struct {
    float *embedding;               /* (V, R), R = 2 D */
    float *dense;                   /* all other parameters */
    float *mean, *square;           /* Adam's moments of the dense part; NULL for prediction */
    int32_t *slots;                 /* (V,), all -1 between calls; not used in prediction without phrases */
} network_state;

/* How many numbers the dense part has. */
int64_t dense_size(network_shape shape);

/* Train on texts[order[0]], texts[order[1]], ... in batches. Adds the summed loss and the number of right
   answers to totals[0], totals[1]. Returns 0, or -1 where memory ran out. */
int train_network(network_shape shape, network_state state, ragged_texts texts, const int64_t *labels,
                  const int64_t *order, int64_t n_order, training_settings settings, int n_threads,
                  double *totals);

/* Logits of all texts, (N, C). Returns as above. */
int network_logits(network_shape shape, network_state state, ragged_texts texts, int n_threads,
                   float *logits);

#endif
