/* Training of networks that read a text out as one wave, straight from the rows of the
   embedding (variants "rows"), with or without a context branch. The mathematics is that of models/wave_network.py,
   which is the slow twin in the tests; names and order of the parameters are PyTorch's. */
#ifndef TOKEN2WAVE_TRAINING_H
#define TOKEN2WAVE_TRAINING_H

#include "dense.h"
#include "layout.h"

typedef struct {
    float row_rate, dropout, token_dropout, label_smoothing;
    int64_t batch_size, first_step; /* first_step counts from 0 over the whole run */
    uint64_t seed;
    adam_settings adam;             /* its rate is the peak */
    const float *row_rates;         /* (V,) factors of the rows' rate */
    const float *text_weights;      /* (N,) how much each text's loss counts */
    const float *positive_weights;  /* (C,) how much each class counts where it holds, multi-label; or NULL */
    const float *rate_factors;      /* of each step of this call */
} training_settings;

typedef struct {
    float *embedding;               /* (V, R), R = 2 D */
    float *dense;                   /* all other parameters */
    float *mean, *square;           /* Adam's moments of the dense part */
    int32_t *slots;                 /* (V,), all -1 between calls */
} network_state;

/* What the network is to say of each text. */
typedef struct {
    const int64_t *labels;          /* (N,) the class that counts as right, where one is */
    const float *targets;           /* (N, C) from 0 to 1; or NULL, where a text's label is its target */
} truth;

/* Train on texts[order[0]], texts[order[1]], ... in batches. Adds the summed loss and the number of right
   answers to totals[0], totals[1]. Returns 0, or -1 where memory ran out. */
int train_network(network_shape shape, network_state state, ragged_texts texts, truth truth, const int64_t *order,
                  int64_t n_order, training_settings settings, int n_threads, double *totals);

#endif
