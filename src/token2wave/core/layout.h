/* The shape of a network, and the offsets of its parameters. Names and order are those of WaveConfig. */
#pragma once

#include <stdint.h>

enum { RESTORE_LINEAR, RESTORE_REAL, RESTORE_MAGNITUDE };

typedef struct {
    int64_t n_rows, n_classes;
    int64_t width;        /* D */
    int64_t context_width; /* P; 0 without a context branch */
    int64_t radius;
    int modulates;        /* else the waves interfere */
    int reads_cls;        /* read out the first token; else the text as one wave */
    int linear_variants;  /* a linear map of a row's D numbers gives both variants; else a row holds both */
    int restore;
    int has_linear_svm;   /* a row also holds a weight for each class, behind its variants */
    int is_multi_label;   /* a sigmoid for each class; else softmax over all */
} network_shape;

typedef struct {
    int64_t n_texts;
    const int32_t *ids;
    const int64_t *offsets, *n_ordered;
} ragged_texts;

/* Offset of each parameter in the dense part; those of absent parameters mean nothing. */
typedef struct {
    int64_t variants, variants_bias, restore, restore_bias, norm, norm_bias, head, head_bias;
    int64_t context_variants, context_variants_bias, context_norm, context_norm_bias, mix, mix_bias;
    int64_t context_head, context_head_bias, linear_svm, linear_svm_bias;
    int64_t size;
} layout;

layout layout_of(network_shape shape);

/* Numbers in a row of the embedding from which waves are made. */
static inline int64_t wave_width(network_shape shape)
{
    return shape.linear_variants ? shape.width : 2 * shape.width;
}

/* All numbers in a row of the embedding, R. */
static inline int64_t row_width(network_shape shape)
{
    return wave_width(shape) + (shape.has_linear_svm ? shape.n_classes : 0);
}
