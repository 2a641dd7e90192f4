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
    int64_t n_oov;        /* K, entries of the OOV table, which have weights of the linear SVM */
} network_shape;

typedef struct {
    int64_t n_texts;
    const int32_t *ids;
    const int64_t *offsets, *n_ordered;
    const int64_t *n_oov_tokens; /* tokens with ids of the OOV table, which come last; or NULL */
} ragged_texts;

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

/* The parameters of the dense part in order, with their sizes, 0 for absent ones. d, p and w are the widths
   of the network, the context branch and a row's waves; c is the number of classes. */
#define PARAMETERS(X)                                                                                 \
    X(variants, s.linear_variants ? 2 * d * d : 0) X(variants_bias, s.linear_variants ? 2 * d : 0)    \
    X(restore, s.restore == RESTORE_LINEAR ? 2 * d * d : 0)                                           \
    X(restore_bias, s.restore == RESTORE_LINEAR ? d : 0)                                              \
    X(norm, d) X(norm_bias, d) X(head, c * d) X(head_bias, c)                                         \
    X(context_variants, 2 * p * w) X(context_variants_bias, 2 * p)                                    \
    X(context_norm, 2 * p) X(context_norm_bias, 2 * p) X(mix, 2 * p * p) X(mix_bias, p)               \
    X(context_head, c * 2 * p) X(context_head_bias, p ? c : 0)                                        \
    X(linear_svm, s.has_linear_svm ? c : 0) X(linear_svm_bias, s.has_linear_svm ? c : 0)    \
    X(oov, s.n_oov * c)

/* Offset of each parameter in the dense part, and its size. */
typedef struct {
#define DECLARE_OFFSET(name, count) int64_t name;
    PARAMETERS(DECLARE_OFFSET)
    int64_t size;
} layout;

static inline layout layout_of(network_shape s)
{
    int64_t d = s.width, p = s.context_width, c = s.n_classes, w = wave_width(s);
    layout l = {0};
#define TAKE_OFFSET(name, count) l.name = l.size, l.size += (count);
    PARAMETERS(TAKE_OFFSET)
    return l;
}
