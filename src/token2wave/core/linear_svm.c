#include "linear_svm.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dense.h"
#include "session.h"
#include "threads.h"

#define LANES 8 /* classes solved side by side: a row's weights for them are one vector */

typedef struct {
    const linear_svm_problem *problem;
    int64_t n_blocks;
    float *squares; /* (N,) |x_i|^2 + 1, the one for the bias */
    atomic_int failed;
} run;

INLINE float one_over_root(float size)
{
    return size > 0 ? 1.0f / sqrtf(size) : 0.0f;
}

/* Loop over the character n-grams of a row: g is their index in p->grams. */
#define EACH_GRAM(g, id)                                                                              \
    int64_t g = p->gram_offsets ? p->gram_offsets[id] : 0,                                            \
            last = p->gram_offsets ? p->gram_offsets[(id) + 1] : 0;                                   \
    g < last; g++

/* |x_i|^2 + 1 of every text; a row that occurs n times in a text counts n^2 times. */
static int squares_of_texts(run *r)
{
    const linear_svm_problem *p = r->problem;
    int32_t *counts = calloc((size_t)(p->n_rows + p->n_grams), sizeof *counts);
    if (!counts)
        return -1;
    for (int64_t text = 0; text < p->texts.n_texts; text++) {
        const int32_t *ids = p->texts.ids + p->texts.offsets[text];
        int64_t n = p->texts.offsets[text + 1] - p->texts.offsets[text];
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) { /* n^2 = 1 + 3 + 5 + ... */
            sum += (2 * counts[ids[i]]++ + 1) * (double)p->energies[ids[i]];
            for (EACH_GRAM(g, ids[i]))
                sum += (2 * counts[p->n_rows + p->grams[g]]++ + 1) *
                       (double)p->energies[p->n_rows + p->grams[g]];
        }
        for (int64_t i = 0; i < n; i++) {
            counts[ids[i]] = 0;
            for (EACH_GRAM(g, ids[i]))
                counts[p->n_rows + p->grams[g]] = 0;
        }
        for (int64_t j = 0; j < p->n_dense; j++)
            sum += (double)p->dense_energy * p->dense[text * p->n_dense + j] * p->dense[text * p->n_dense + j];
        r->squares[text] = (float)(n > 0 ? sum / (double)n : 0.0) + 1.0f;
    }
    free(counts);
    return 0;
}

/* Targets of a text, 1 or -1, for the classes of a block. */
INLINE v8 targets_of(const linear_svm_problem *p, int64_t text, int64_t first)
{
    v8 y = ALL(-1.0f);
    for (int64_t k = 0; k < LANES && first + k < p->n_classes; k++)
        if (p->targets ? p->targets[text * p->n_classes + first + k] > 0.5f : p->labels[text] == first + k)
            y[k] = 1.0f;
    return y;
}

static void shuffle(int64_t *order, int64_t n, uint64_t key)
{
    for (int64_t i = n - 1; i > 0; i--) {
        int64_t other = (int64_t)(random_bits(key, (uint64_t)i) % (uint64_t)(i + 1)), last = order[i];
        order[i] = order[other];
        order[other] = last;
    }
}

/* Sum of the dense features of a text, each times its weights, in four sums that do not wait for each other. */
INLINE v8 dense_score(const float *dense, const float *weights, int64_t n)
{
    v8 sums[4] = {ALL(0.0f), ALL(0.0f), ALL(0.0f), ALL(0.0f)};
    int64_t j = 0;
    for (; j + 4 <= n; j += 4)
        for (int k = 0; k < 4; k++)
            sums[k] += dense[j + k] * READ(weights + (j + k) * LANES);
    for (; j < n; j++)
        sums[0] += dense[j] * READ(weights + j * LANES);
    return (sums[0] + sums[1]) + (sums[2] + sums[3]);
}

/* One pass over the texts; `violation`, (LANES,), becomes the largest violation of each class's conditions.
   */
HOT static void pass_over_texts(const run *r, int64_t first, const int64_t *order, int64_t n_order,
                                float factor, float *rows, float *alphas, float *biases, float *violation)
{
    const linear_svm_problem *p = r->problem;
    v8 bias = READ(biases), worst = ALL(0.0f);
    float *grams = rows + p->n_rows * LANES, *weights = grams + p->n_grams * LANES;
    int64_t n_dense = p->dense_energy > 0 ? p->n_dense : 0;
    for (int64_t at = 0; at < n_order; at++) {
        int64_t text = order[at];
        const int32_t *ids = p->texts.ids + p->texts.offsets[text];
        int64_t n = p->texts.offsets[text + 1] - p->texts.offsets[text];
        const float *dense = p->dense + text * p->n_dense;
        float scale = one_over_root((float)n);
        v8 score = ALL(0.0f);
        for (int64_t i = 0; i < n && i < AHEAD; i++)
            prefetch_row(rows + ids[i] * LANES, LANES);
        for (int64_t i = 0; i < n; i++) {
            if (i + AHEAD < n)
                prefetch_row(rows + ids[i + AHEAD] * LANES, LANES);
            score += READ(rows + ids[i] * LANES);
            for (EACH_GRAM(g, ids[i]))
                score += READ(grams + p->grams[g] * LANES);
        }
        if (n_dense)
            score += dense_score(dense, weights, n_dense);
        v8 y = targets_of(p, text, first), alpha = READ(alphas + text * LANES);
        v8 spread = ALL(0.5f / (p->costs[text] * factor)); /* of the squared hinge */
        for (int64_t k = 0; p->positive && k < LANES && first + k < p->n_classes; k++)
            spread[k] /= y[k] > 0 ? p->positive[first + k] : 1.0f;
        v8 slope = y * (score * scale + bias) - 1.0f + alpha * spread;
        v8 next = alpha - slope / (r->squares[text] + spread);
        int moves = 0;
        for (int k = 0; k < LANES; k++) {
            float violated = alpha[k] > 0 || slope[k] < 0 ? fabsf(slope[k]) : 0.0f;
            worst[k] = violated > worst[k] ? violated : worst[k];
            next[k] = violated > 0 ? (next[k] > 0 ? next[k] : 0.0f) : alpha[k];
            moves |= next[k] != alpha[k];
        }
        if (!moves)
            continue;
        AT(alphas + text * LANES) = next;
        v8 change = (next - alpha) * y;
        bias += change;
        change *= scale;
        for (int64_t i = 0; i < n; i++) {
            float *row = rows + ids[i] * LANES;
            AT(row) = READ(row) + change * p->energies[ids[i]];
            for (EACH_GRAM(g, ids[i])) {
                float *gram = grams + p->grams[g] * LANES;
                AT(gram) = READ(gram) + change * p->energies[p->n_rows + p->grams[g]];
            }
        }
        change *= p->dense_energy;
        for (int64_t j = 0; j < n_dense; j++)
            AT(weights + j * LANES) = READ(weights + j * LANES) + change * dense[j];
    }
    AT(biases) = bias;
    AT(violation) = worst;
}

/* Copy weights of a block, `n` lines of eight, to the classes that they are of. */
static void copy_out(const linear_svm_problem *p, int64_t first, int64_t n, const float *lanes, float *out)
{
    int64_t n_classes = p->n_classes - first < LANES ? p->n_classes - first : LANES;
    for (int64_t i = 0; i < n; i++)
        memcpy(out + i * p->n_classes + first, lanes + i * LANES, (size_t)n_classes * sizeof *out);
}

/* Write the solution of some classes for factor `k`. */
static void write_solution(const linear_svm_problem *p, int64_t first, int64_t k, const float *rows,
                           const float *biases)
{
    const float *grams = rows + p->n_rows * LANES;
    for (int64_t row = 0; row < p->n_rows; row++) {
        v8 sum = READ(rows + row * LANES);
        for (EACH_GRAM(g, row))
            sum += READ(grams + p->grams[g] * LANES);
        float lanes[LANES];
        AT(lanes) = sum;
        copy_out(p, first, 1, lanes, p->rows + (k * p->n_rows + row) * p->n_classes);
    }
    copy_out(p, first, p->n_grams, grams, p->gram_weights + k * p->n_grams * p->n_classes);
    copy_out(p, first, p->n_dense, grams + p->n_grams * LANES,
             p->dense_weights + k * p->n_dense * p->n_classes);
    copy_out(p, first, 1, biases, p->bias + k * p->n_classes);
}

/* Solve some classes side by side. The weights stay those of the dual variables when the cost changes, so each
   factor goes on from the solution of the one before. LIBLINEAR's shrinking saves no time in so few passes. */
static void solve_block(void *argument, int64_t block)
{
    run *r = argument;
    const linear_svm_problem *p = r->problem;
    int64_t first = block * LANES, n_texts = p->texts.n_texts, n_order = 0, all_passes = 0;
    int64_t n_classes = p->n_classes - first < LANES ? p->n_classes - first : LANES;
    float *rows = calloc((size_t)(p->n_rows + p->n_grams + p->n_dense) * LANES, sizeof *rows);
    float *alphas = calloc((size_t)n_texts * LANES + LANES, sizeof *alphas);
    int64_t *order = malloc(((size_t)n_texts + 1) * sizeof *order);
    float biases[LANES] = {0}, violation[LANES];
    size_t size = (size_t)n_classes * sizeof *rows;
    if (rows && alphas && order) {
        for (int64_t row = 0; row < p->n_rows; row++)
            memcpy(rows + row * LANES, p->rows + row * p->n_classes + first, size);
        memcpy(biases, p->bias + first, size);
        for (int64_t text = 0; text < n_texts; text++)
            if (p->costs[text] > 0)
                order[n_order++] = text;
        for (int64_t k = 0; k < p->n_factors; k++) {
            int64_t passes = 0;
            for (int more = 1; more && passes < p->max_passes; passes++, all_passes++) {
                shuffle(order, n_order, random_bits(p->seed, (uint64_t)all_passes));
                pass_over_texts(r, first, order, n_order, p->factors[k], rows, alphas, biases, violation);
                more = 0;
                for (int64_t c = 0; c < n_classes; c++)
                    more |= violation[c] > p->tolerance;
            }
            write_solution(p, first, k, rows, biases);
            for (int64_t c = 0; c < n_classes; c++)
                p->passes[k * p->n_classes + first + c] = passes;
        }
    } else {
        atomic_store(&r->failed, 1);
    }
    free(rows);
    free(alphas);
    free(order);
}

static int64_t next_blocks(void *argument)
{
    run *r = argument;
    int64_t n = r->n_blocks;
    r->n_blocks = 0;
    return n;
}

int solve_linear_svm(const linear_svm_problem *problem, int n_threads)
{
    run r = {.problem = problem, .n_blocks = (problem->n_classes + LANES - 1) / LANES};
    r.squares = malloc(((size_t)problem->texts.n_texts + 1) * sizeof *r.squares);
    int failed = !r.squares || squares_of_texts(&r);
    if (!failed) {
        run_phases(n_threads, next_blocks, solve_block, &r);
        failed = atomic_load(&r.failed);
    }
    free(r.squares);
    return failed ? -1 : 0;
}
