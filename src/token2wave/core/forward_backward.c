#include <math.h>

#include "session.h"
#include "waves.h"

void context_variants(session *s, int64_t part)
{
    owned_rows *own = &s->owned[part];
    int64_t r = row_width(s->shape), n = 2 * s->shape.context_width;
    float *rows = s->scratch[part];
    for (int64_t slot = 0; slot < own->n_word_slots; slot += ROWS_CHUNK) {
        int64_t count = own->n_word_slots - slot < ROWS_CHUNK ? own->n_word_slots - slot : ROWS_CHUNK;
        for (int64_t i = 0; i < count; i++)
            memcpy(rows + i * r, s->state.embedding + own->rows[slot + i] * r, (size_t)r * sizeof *rows);
        linear(count, n, r, rows, s->transposed + s->at.context_variants,
               s->state.dense + s->at.context_variants_bias, s->context_values + (own->base + slot) * n);
    }
}

/* Dropout: zero numbers with a probability, and scale the others up. The backward pass needs the factors. */
static void drop(float probability, uint64_t key, int64_t first, int64_t n, float *x, float *factors)
{
    float scale = 1.0f / (1.0f - probability);
    for (int64_t i = 0; i < n; i++) {
        factors[i] = uniform(key, (uint64_t)(first + i)) < probability ? 0.0f : scale;
        x[i] *= factors[i];
    }
}

INLINE float target_of(const session *s, int64_t text, int64_t k)
{
    return s->truth.targets ? s->truth.targets[text * s->shape.n_classes + k]
                            : (float)(k == s->truth.labels[text]);
}

/* Label smoothing moves a target towards equal probabilities of all classes. */
INLINE float smoothed(const session *s, float target)
{
    float smoothing = s->training->label_smoothing;
    return target * (1.0f - smoothing) + smoothing / (float)s->shape.n_classes;
}

/* Cross-entropy of a text with one class; logits become its gradient times `weight`. */
static double cross_entropy(const session *s, int64_t text, float weight, float *logits, int *right)
{
    int64_t c = s->shape.n_classes, best = 0;
    for (int64_t k = 1; k < c; k++)
        if (logits[k] > logits[best])
            best = k;
    *right = best == s->truth.labels[text];
    double sum = 0.0, all = 0.0, own = 0.0, smoothing = s->training->label_smoothing;
    float highest = logits[best];
    for (int64_t k = 0; k < c; k++) {
        all += logits[k] - highest;
        own += (double)target_of(s, text, k) * (double)(logits[k] - highest);
    }
    exponentials(c, highest, logits);
    for (int64_t k = 0; k < c; k++)
        sum += logits[k];
    float normaliser = (float)(1.0 / sum);
    for (int64_t k = 0; k < c; k++)
        logits[k] = (logits[k] * normaliser - smoothed(s, target_of(s, text, k))) * weight;
    return log(sum) - (1.0 - smoothing) * own - smoothing * all / (double)c;
}

/* The same for a multi-label text: the sum of the binary cross-entropies of all classes. A text is right if
   all classes are. */
static double binary_cross_entropies(const session *s, int64_t text, float weight, float *logits, int *right)
{
    const float *weights = s->training->positive_weights;
    double loss = 0.0;
    *right = 1;
    for (int64_t k = 0; k < s->shape.n_classes; k++) {
        float original = target_of(s, text, k);
        double logit = logits[k], target = smoothed(s, original), positive = weights ? weights[k] : 1.0;
        double rest = log1p(exp(-fabs(logit))), sigmoid = 1.0 / (1.0 + exp(-logit));
        *right &= (logit > 0) == (original > 0.5f);
        loss += positive * target * (rest + (logit < 0 ? -logit : 0.0)); /* -log of the sigmoid, */
        loss += (1.0 - target) * (rest + (logit > 0 ? logit : 0.0));     /* and of one minus it */
        logits[k] = (float)((1.0 - target) * sigmoid - positive * target * (1.0 - sigmoid)) * weight;
    }
    return loss;
}

/* Add losses and right predictions of M texts; logits become the gradient of the batch's mean loss. */
static void losses(session *s, int64_t part, int64_t first, int64_t M, float *logits)
{
    for (int64_t m = 0; m < M; m++, logits += s->shape.n_classes) {
        int64_t text = text_number(s, first + m);
        float weight = s->training->text_weights[text], of_batch = 1.0f / (float)s->n_texts * weight;
        int right;
        double loss = s->shape.is_multi_label ? binary_cross_entropies(s, text, of_batch, logits, &right)
                                              : cross_entropy(s, text, of_batch, logits, &right);
        s->loss[part] += weight * loss;
        s->right[part] += right;
    }
}

/* Scratch memory of a group of M texts with W words. d is the width, r = 2 d, p that of the context branch.
   */
#define GROUP_MEMORY(X)                                                                               \
    X(mean, M * r) X(deviation, M * r) X(waves, M * r) X(state, M * d) X(normal, M * d) X(inverse, M) \
    X(out, M * d) X(out_factors, M * d) X(logits, M * c)                                              \
    X(d_out, M * d) X(d_state, M * d) X(d_waves, M * r) X(d_mean, M * r) X(d_deviation, M * r)        \
    /* context branch, for each word */                                                               \
    X(variants, W * 2 * p) X(left, W * p) X(right, W * p) X(overlays, W * 2 * p)                      \
    X(context_normal, W * 2 * p) X(context_inverse, W) X(normed, W * 2 * p) X(mixed, W * p)           \
    X(states, W * p) X(slope, W * p)                                                                  \
    /* and for each text */                                                                           \
    X(context_text, M * 2 * p) X(context_factors, M * 2 * p) X(d_context, M * 2 * p)                  \
    X(pooled_mean, M * p) X(pooled_deviation, M * p) X(context_constant, M * p) X(context_factor, M * p)

typedef struct {
#define DECLARE(name, count) float *name;
    GROUP_MEMORY(DECLARE)
#undef DECLARE
    int64_t size;
} group_memory;

static group_memory memory_of_group(network_shape shape, int64_t M, int64_t W, float *start)
{
    int64_t d = shape.width, r = 2 * d, p = shape.context_width, c = shape.n_classes, at = 0;
    group_memory g;
#define TAKE(name, count) g.name = start ? start + at : 0, at += ((count) + 7) / 8 * 8;
    GROUP_MEMORY(TAKE)
#undef TAKE
    g.size = at;
    return g;
}

int64_t group_memory_size(network_shape shape, int64_t M, int64_t W)
{
    return memory_of_group(shape, M, W, 0).size;
}

/* Logits of M texts from the waves of their features, without the context branch. */
static void text_forward(session *s, int64_t first, int64_t M, group_memory g)
{
    int64_t d = s->shape.width, r = 2 * d, c = s->shape.n_classes;
    const float *weights = s->state.dense;
    for (int64_t m = 0; m < M; m++) {
        float *mean = g.mean + m * r, *deviation = g.deviation + m * r;
        text_wave(s->state.embedding, s->tokens + s->token_start[first + m], s->n_tokens[first + m], r, mean,
                  deviation);
        overlay(s->shape.modulates, d, mean, deviation, mean + d, deviation + d, g.waves + m * 2 * d);
    }
    linear(M, d, 2 * d, g.waves, s->transposed + s->at.restore, weights + s->at.restore_bias, g.state);
    normalise(M, d, g.state, weights + s->at.norm, weights + s->at.norm_bias, g.out, g.normal, g.inverse);
    if (s->training->dropout > 0)
        drop(s->training->dropout, random_bits(s->key, UINT64_MAX), first * d, M * d, g.out, g.out_factors);
    linear(M, c, d, g.out, s->transposed + s->at.head, weights + s->at.head_bias, g.logits);
}

static void text_backward(session *s, int64_t first, int64_t M, group_memory g, float *gradients)
{
    int64_t d = s->shape.width, r = 2 * d, c = s->shape.n_classes;
    const float *weights = s->state.dense;
    linear_backward(M, c, d, g.logits, g.out, weights + s->at.head, g.d_out, gradients + s->at.head,
                    gradients + s->at.head_bias);
    if (s->training->dropout > 0)
        for (int64_t i = 0; i < M * d; i++)
            g.d_out[i] *= g.out_factors[i];
    normalise_backward(M, d, g.d_out, g.normal, g.inverse, weights + s->at.norm, g.d_state,
                       gradients + s->at.norm, gradients + s->at.norm_bias);
    linear_backward(M, d, 2 * d, g.d_state, g.waves, weights + s->at.restore, g.d_waves,
                    gradients + s->at.restore, gradients + s->at.restore_bias);
    for (int64_t m = 0; m < M; m++) {
        float *mean = g.mean + m * r, *deviation = g.deviation + m * r;
        float *d_mean = g.d_mean + m * r, *d_deviation = g.d_deviation + m * r;
        overlay_backward(s->shape.modulates, d, mean, deviation, mean + d, deviation + d,
                         g.d_waves + m * 2 * d, d_mean, d_deviation, d_mean + d, d_deviation + d);
        text_wave_backward(s->n_tokens[first + m], r, mean, deviation, d_mean, d_deviation,
                           s->constant + (first + m) * r, s->factor + (first + m) * r);
    }
}

/* Add the logits of the context branch: the wave of the words' states, made from the waves of their
   neighbours. */
static void context_forward(session *s, int64_t first, int64_t M, int64_t W, group_memory g)
{
    int64_t p = s->shape.context_width, c = s->shape.n_classes, radius = s->shape.radius, word = 0;
    const float *weights = s->state.dense;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        const int32_t *slots = s->word_slots + s->word_start[first + m];
        float *variants = g.variants + word * 2 * p;
        for (int64_t i = 0; i < n; i++)
            memcpy(variants + i * 2 * p, s->context_values + slots[i] * 2 * p,
                   (size_t)(2 * p) * sizeof(float));
        neighbours(n, p, radius, 1, variants, 2 * p, g.left + word * p);
        neighbours(n, p, radius, 0, variants + p, 2 * p, g.right + word * p);
        word += n;
    }
    for (int64_t w = 0; w < W; w++)
        overlay(s->shape.modulates, p, g.variants + w * 2 * p, g.left + w * p, g.variants + w * 2 * p + p,
                g.right + w * p, g.overlays + w * 2 * p);
    normalise(W, 2 * p, g.overlays, weights + s->at.context_norm, weights + s->at.context_norm_bias, g.normed,
              g.context_normal, g.context_inverse);
    linear(W, p, 2 * p, g.normed, s->transposed + s->at.mix, weights + s->at.mix_bias, g.mixed);
    gelu(W * p, g.mixed, g.states, g.slope);
    word = 0;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        float *mean = g.pooled_mean + m * p, *deviation = g.pooled_deviation + m * p;
        text_wave(g.states + word * p, 0, n, p, mean, deviation);
        memcpy(g.context_text + m * 2 * p, mean, (size_t)p * sizeof(float));
        memcpy(g.context_text + m * 2 * p + p, deviation, (size_t)p * sizeof(float));
        word += n;
    }
    if (s->training->dropout > 0)
        drop(s->training->dropout, random_bits(s->key, UINT64_MAX - 1), first * 2 * p, M * 2 * p,
             g.context_text, g.context_factors);
    for (int64_t m = 0; m < M; m++)
        for (int64_t k = 0; k < c; k++)
            g.logits[m * c + k] += weights[s->at.context_head_bias + k];
    multiply(M, c, 2 * p, g.context_text, 2 * p, 1, s->transposed + s->at.context_head, c, g.logits, c, 1);
}

static void context_backward(session *s, int64_t first, int64_t M, int64_t W, group_memory g,
                             float *gradients)
{
    int64_t p = s->shape.context_width, c = s->shape.n_classes, radius = s->shape.radius, word = 0;
    const float *weights = s->state.dense;
    linear_backward(M, c, 2 * p, g.logits, g.context_text, weights + s->at.context_head, g.d_context,
                    gradients + s->at.context_head, gradients + s->at.context_head_bias);
    if (s->training->dropout > 0)
        for (int64_t i = 0; i < M * 2 * p; i++)
            g.d_context[i] *= g.context_factors[i];
    float *d_mixed = g.mixed; /* here and below, memory that the backward pass no longer needs */
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        float *constant = g.context_constant + m * p, *factor = g.context_factor + m * p;
        text_wave_backward(n, p, g.pooled_mean + m * p, g.pooled_deviation + m * p, g.d_context + m * 2 * p,
                           g.d_context + m * 2 * p + p, constant, factor);
        for (int64_t i = word; i < word + n; i++)
            for (int64_t k = 0; k < p; k++)
                d_mixed[i * p + k] = (constant[k] + factor[k] * g.states[i * p + k]) * g.slope[i * p + k];
        word += n;
    }
    float *d_normed = g.overlays;
    linear_backward(W, p, 2 * p, d_mixed, g.normed, weights + s->at.mix, d_normed, gradients + s->at.mix,
                    gradients + s->at.mix_bias);
    float *d_overlays = g.normed;
    normalise_backward(W, 2 * p, d_normed, g.context_normal, g.context_inverse, weights + s->at.context_norm,
                       d_overlays, gradients + s->at.context_norm, gradients + s->at.context_norm_bias);
    float *d_left = g.states, *d_right = g.slope;
    word = 0;
    for (int64_t m = 0; m < M; m++) {
        int64_t n = s->n_words[first + m];
        const float *variants = g.variants + word * 2 * p;
        float *d_variants = s->context_gradients + s->word_start[first + m] * 2 * p;
        float *left = g.left + word * p, *right = g.right + word * p;
        for (int64_t i = 0; i < n; i++)
            overlay_backward(s->shape.modulates, p, variants + i * 2 * p, left + i * p,
                             variants + i * 2 * p + p, right + i * p, d_overlays + (word + i) * 2 * p,
                             d_variants + i * 2 * p, d_left + (word + i) * p, d_variants + i * 2 * p + p,
                             d_right + (word + i) * p);
        neighbours_backward(n, p, radius, 1, variants, 2 * p, left, d_left + word * p, d_variants);
        neighbours_backward(n, p, radius, 0, variants + p, 2 * p, right, d_right + word * p, d_variants + p);
        word += n;
    }
}

void forward_backward(session *s, int64_t part)
{
    int64_t first, last, p = s->shape.context_width;
    texts_of_part(s, part, &first, &last);
    while (first < last) {
        int64_t end = first, W = 0;
        for (; end < last && (end == first || W + (p ? s->n_words[end] : 0) <= TOKENS_CHUNK); end++)
            W += p ? s->n_words[end] : 0;
        int64_t M = end - first;
        group_memory g = memory_of_group(s->shape, M, W, s->scratch[part]);
        text_forward(s, first, M, g);
        if (p)
            context_forward(s, first, M, W, g);
        float *gradients = s->gradients + part * s->at.size;
        losses(s, part, first, M, g.logits);
        text_backward(s, first, M, g, gradients);
        if (p)
            context_backward(s, first, M, W, g, gradients);
        first = end;
    }
}
