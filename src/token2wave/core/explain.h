/* Explanations: the logits of a text without each of its parts. The slow twin is explanation/removal.py. */
#pragma once

#include "predict.h"

/* Asked now and then whether to stop; see should_stop. */
typedef int stop_signal(void *argument);

typedef struct {
    const compiled_network *network;
    const word_index *words;
    text_bytes text;
    const int64_t *ends; /* where each part ends, increasing, in code points; NULL if each token is a part */
    int64_t n_ends;
    stop_signal *should_stop;
    void *argument;
    normal_form form; /* of the text, which it replaces if it changed */
    int changed;
    /* Results, allocated here: of n_done parts, the first of n_parts. */
    int64_t n_parts, n_done;
    int64_t *spans;  /* (n_parts, 2), first and past-the-last code point */
    double *energy;  /* (n_parts,), fractions of the text's energy */
    uint8_t *known;  /* (n_parts,), whether any token has a row or entries of the OOV table */
    float *logits;   /* (1 + n_parts, C), of the text, then of the text without each part */
    int is_known;    /* whether anything of the text is */
} explanation;

/* Explain a text; returns PREDICTED, OUT_OF_MEMORY or NOT_UTF8. free_explanation must be called in any
   case. */
int explain(explanation *e);
void free_explanation(explanation *e);
