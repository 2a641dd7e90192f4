/* Prediction with a compiled network: from texts, or rows of texts, to logits or probabilities. */
#pragma once

#include "compiled.h"
#include "text.h"

/* A text in UTF-8. */
typedef struct {
    const char *utf8;
    int64_t size;
    void *owner; /* keeps the bytes alive; NULL if the caller does */
} text_bytes;

typedef struct {
    const compiled_network *network;
    const word_index *words; /* for texts; */
    const text_bytes *texts;
    ragged_texts rows;       /* or, where `words` is NULL, rows of the texts */
    int64_t n_texts;
    int as_probabilities;    /* else logits */
    float *out;              /* (N, C) */
    uint8_t *known;          /* of texts: (N,), whether any feature has a row, or any token has entries of the
                                OOV table */
} prediction;

enum { PREDICTED, OUT_OF_MEMORY, NOT_UTF8 };

/* Predict all texts. A text's numbers depend neither on the other texts nor on the number of threads. */
int predict(prediction *p, int n_threads);
