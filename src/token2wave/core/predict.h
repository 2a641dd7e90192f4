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
    int as_waves;            /* else one of these two */
    float *out;              /* (N, numbers_of_text) */
    uint8_t *known;          /* of texts: (N,), whether any feature has a row, or any token has entries of the
                                OOV table */
} prediction;

enum { PREDICTED, OUT_OF_MEMORY, NOT_UTF8 };

/* Numbers of each text in `out`: C; of waves 2 D + 2 P, and C more with a linear SVM. */
int64_t numbers_of_text(const prediction *p);

/* Predict all texts. A text's numbers depend neither on the other texts nor on the number of threads. */
int predict(prediction *p, int n_threads);

/* ---- for explain.c: the same arithmetic, from sums that it makes ---- */

/* The sums of a text, on which its logits depend. They are in double precision and add up, so those of a
   passage can be subtracted. See inference/sums.py. */
typedef struct {
    int64_t n_features, n_words, n_oov;
    int32_t first;                         /* first feature of the text; -1 if there is none */
    double *sum, *squares;                 /* (2 D,) */
    double *linear_svm;                    /* (C,) */
    double *context_sum, *context_squares; /* (P,) */
} summed_text;

/* Memory to compute with up to n_texts texts, which free() releases; NULL if there is none. */
typedef struct text_work text_work;
text_work *open_text_work(const compiled_network *t, int64_t n_texts);

/* Add the SVM weights of features, whose rows should be in the cache, to sums of C classes. */
void add_linear_svm(const compiled_network *t, double *sum, const int32_t *ids, int64_t n);
/* Add those of entries of the OOV table, which are numbered from `first` on. */
void add_oov(const compiled_network *t, double *sum, const int32_t *entries, int64_t n, int32_t first);

/* Logits (n, C) of n texts. */
void logits_of_sums(const compiled_network *t, text_work *work, const summed_text *texts, int64_t n,
                    float *logits);

/* States (last - first, P) of words first .. last among the n words of a text, whose rows are expanded. */
void states_of_words(const compiled_network *t, text_work *work, const int32_t *ids, int64_t n, int64_t first,
                     int64_t last, float *states);
