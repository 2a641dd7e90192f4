/* One pass of the solver over the texts, for LANES classes side by side: a row's weights for them are one
   vector. linear_svm.c includes this file once for each number of lanes. */

#define PASTE(name, lanes) name##lanes
#define NAME_OF(name, lanes) PASTE(name, lanes)
#define VECTOR NAME_OF(lanes_, LANES)
#define LINE(pointer) (*(NAME_OF(unaligned_, LANES) *)(pointer))
#define SAME(number) ((VECTOR){0} + (number))

/* Vectors of this many floats; those in memory need no alignment. */
typedef float VECTOR __attribute__((vector_size(4 * LANES)));
typedef float NAME_OF(unaligned_, LANES) __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* Targets of a text, 1 or -1, for the classes of a block. */
INLINE VECTOR NAME_OF(targets_, LANES)(const linear_svm_problem *p, int64_t text, int64_t first)
{
    VECTOR y = SAME(-1.0f);
    for (int64_t k = 0; k < LANES && first + k < p->n_classes; k++)
        if (p->targets ? p->targets[text * p->n_classes + first + k] > 0.5f : p->labels[text] == first + k)
            y[k] = 1.0f;
    return y;
}

/* Sum of the dense features of a text, each times its weights, in four sums that do not wait for each other. */
INLINE VECTOR NAME_OF(dense_score_, LANES)(const float *dense, const float *weights, int64_t n)
{
    VECTOR sums[4] = {SAME(0.0f), SAME(0.0f), SAME(0.0f), SAME(0.0f)};
    int64_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (int k = 0; k < 4; k++)
            sums[k] += dense[j + k] * LINE(weights + (j + k) * LANES);
    for (; j < n; j++)
        sums[0] += dense[j] * LINE(weights + j * LANES);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* Move the weights of a text's elements by a change of its dual variables, times its targets. */
INLINE void NAME_OF(move_, LANES)(const run *r, block *b, int64_t text, VECTOR change)
{
    const linear_svm_problem *p = r->problem;
    const float *dense = p->dense + text * p->n_dense;
    float *table = b->table, *weights = table + r->n_elements * LANES;
    change *= one_over_root((float)(p->texts.offsets[text + 1] - p->texts.offsets[text]));
    for (int64_t i = r->starts[text]; i < r->starts[text + 1]; i++) {
        uint32_t entry = r->entries[i], place = PLACE_OF(entry);
        LINE(table + place * LANES) += change * (COUNT_OF(entry) * r->energies[place]);
    }
    change *= p->dense_energy;
    for (int64_t j = 0; p->dense_energy > 0 && j < p->n_dense; j++)
        LINE(weights + j * LANES) += change * dense[j];
}

/* Set the weights to those of dual variables. */
HOT static void NAME_OF(start_from_alphas_, LANES)(const run *r, block *b)
{
    VECTOR bias = LINE(b->biases);
    for (int64_t text = 0; text < r->problem->texts.n_texts; text++) {
        VECTOR change = LINE(b->alphas + text * LANES) * NAME_OF(targets_, LANES)(r->problem, text, b->first);
        bias += change;
        NAME_OF(move_, LANES)(r, b, text, change);
    }
    LINE(b->biases) = bias;
}

/* A class with a violation of at most the tolerance is solved and stays as it is; the largest violation of the
   others in this pass takes its place. */
HOT static void NAME_OF(pass_over_texts_, LANES)(const run *r, block *b)
{
    const linear_svm_problem *p = r->problem;
    VECTOR bias = LINE(b->biases), worst = SAME(0.0f);
    float *table = b->table, *weights = table + r->n_elements * LANES;
    int64_t n_dense = p->dense_energy > 0 ? p->n_dense : 0;
    VECTOR moving = SAME(0.0f);
    for (int k = 0; k < LANES; k++)
        moving[k] = b->violation[k] > p->tolerance;
    for (int64_t at = 0; at < b->n_order; at++) {
        int64_t text = b->order[at], n = r->starts[text + 1] - r->starts[text];
        const uint32_t *entries = r->entries + r->starts[text];
        const float *dense = p->dense + text * p->n_dense;
        float scale = one_over_root((float)(p->texts.offsets[text + 1] - p->texts.offsets[text]));
        VECTOR score = SAME(0.0f);
        for (int64_t i = 0; i < n && i < ENTRIES_AHEAD; i++)
            PREFETCH(table + PLACE_OF(entries[i]) * LANES);
        for (int64_t i = 0; i < n; i++) {
            if (i + ENTRIES_AHEAD < n)
                PREFETCH(table + PLACE_OF(entries[i + ENTRIES_AHEAD]) * LANES);
            score += COUNT_OF(entries[i]) * LINE(table + PLACE_OF(entries[i]) * LANES);
        }
        if (n_dense)
            score += NAME_OF(dense_score_, LANES)(dense, weights, n_dense);
        VECTOR y = NAME_OF(targets_, LANES)(p, text, b->first), alpha = LINE(b->alphas + text * LANES);
        VECTOR spread = SAME(0.5f / (p->costs[text] * b->factor)); /* of the squared hinge */
        for (int64_t k = 0; p->positive && k < LANES && b->first + k < p->n_classes; k++)
            spread[k] /= y[k] > 0 ? p->positive[b->first + k] : 1.0f;
        VECTOR slope = y * (score * scale + bias) - 1.0f + alpha * spread;
        VECTOR next = alpha - slope / (r->squares[text] + spread);
        int moves = 0;
        for (int k = 0; k < LANES; k++) {
            float violated = alpha[k] > 0 || slope[k] < 0 ? fabsf(slope[k]) : 0.0f;
            worst[k] = violated > worst[k] ? violated : worst[k];
            next[k] = violated * moving[k] > 0 ? (next[k] > 0 ? next[k] : 0.0f) : alpha[k];
            moves |= next[k] != alpha[k];
        }
        if (!moves)
            continue;
        LINE(b->alphas + text * LANES) = next;
        VECTOR change = (next - alpha) * y;
        bias += change;
        NAME_OF(move_, LANES)(r, b, text, change);
    }
    LINE(b->biases) = bias;
    for (int k = 0; k < LANES; k++)
        if (moving[k] > 0)
            b->violation[k] = worst[k];
}

#undef PASTE
#undef NAME_OF
#undef VECTOR
#undef LINE
#undef SAME
#undef LANES
