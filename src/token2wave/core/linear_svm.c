#include "linear_svm.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dense.h"
#include "session.h"
#include "threads.h"

#define MAX_LANES 8
#define MANY 1024 /* occurrences of an element that is always in the cache */

typedef struct {
    const linear_svm_problem *problem;
    int64_t n_elements; /* E = V + G */
    int32_t *places;    /* (E,) of rows, then of n-grams: elements of many texts stand side by side */
    float *energies;    /* (E,) at their places */
    int32_t *rows_of_texts; /* the ids of the texts as places */
    int64_t *gram_offsets;  /* (E + 1,), n-grams of the row at each place */
    int32_t *grams;         /* their places */
    float *squares;         /* (N,) |x_i|^2 + 1, the one for the bias */
    int64_t n_solved;       /* classes; the second of two is the mirror image of the first */
    int64_t n_lanes, n_blocks;
    atomic_int failed;
} run;

/* Classes that are solved side by side. */
typedef struct {
    int64_t first, n_order;
    int64_t *order;   /* texts in the order of the pass */
    float factor;     /* of all costs */
    float *table;     /* (E + P, lanes) weights of elements and dense features */
    float *alphas;    /* (N, lanes) dual variables */
    float biases[MAX_LANES], violation[MAX_LANES];
} block;

INLINE float one_over_root(float size)
{
    return size > 0 ? 1.0f / sqrtf(size) : 0.0f;
}

/* Loop over the character n-grams of the row at a place: g is their index in r->grams. */
#define EACH_GRAM(g, place)                                                                           \
    int64_t g = r->gram_offsets[place], end = r->gram_offsets[(place) + 1];                           \
    g < end;                                                                                          \
    g++

#define LANES 1
#include "linear_svm_pass.h"
#define LANES 2
#include "linear_svm_pass.h"
#define LANES 4
#include "linear_svm_pass.h"
#define LANES 8
#include "linear_svm_pass.h"

/* Place of each element: first those that occur most often, so that they share lines of the cache. A counting
   sort; all of MANY and more are equal. */
static int place_elements(run *r)
{
    const linear_svm_problem *p = r->problem;
    int64_t n_ids = p->texts.offsets[p->texts.n_texts], starts[MANY + 2] = {0};
    int32_t *elements = malloc(((size_t)r->n_elements + 1) * sizeof *elements); /* at their places */
    int64_t *counts = calloc((size_t)r->n_elements + 1, sizeof *counts);
    if (elements && counts) {
        for (int64_t i = 0; i < n_ids; i++)
            counts[p->texts.ids[i]]++;
        for (int64_t row = 0; p->gram_offsets && row < p->n_rows; row++)
            for (int64_t g = p->gram_offsets[row]; g < p->gram_offsets[row + 1]; g++)
                counts[p->n_rows + p->grams[g]] += counts[row];
        for (int64_t e = 0; e < r->n_elements; e++)
            starts[MANY - (counts[e] < MANY ? counts[e] : MANY) + 1]++;
        for (int64_t bucket = 0; bucket <= MANY; bucket++)
            starts[bucket + 1] += starts[bucket];
        for (int64_t e = 0; e < r->n_elements; e++) {
            int64_t place = starts[MANY - (counts[e] < MANY ? counts[e] : MANY)]++;
            elements[place] = (int32_t)e;
            r->places[e] = (int32_t)place;
            r->energies[place] = p->energies[e];
        }
        for (int64_t i = 0; i < n_ids; i++)
            r->rows_of_texts[i] = r->places[p->texts.ids[i]];
        for (int64_t place = 0, n = 0; place < r->n_elements; place++) {
            int32_t row = elements[place];
            if (p->gram_offsets && row < p->n_rows)
                for (int64_t g = p->gram_offsets[row]; g < p->gram_offsets[row + 1]; g++)
                    r->grams[n++] = r->places[p->n_rows + p->grams[g]];
            r->gram_offsets[place + 1] = n;
        }
    }
    int failed = !elements || !counts;
    free(elements);
    free(counts);
    return failed ? -1 : 0;
}

/* |x_i|^2 + 1 of every text; a row that occurs n times in a text counts n^2 times. */
static int squares_of_texts(run *r)
{
    const linear_svm_problem *p = r->problem;
    int32_t *counts = calloc((size_t)r->n_elements + 1, sizeof *counts);
    if (!counts)
        return -1;
    for (int64_t text = 0; text < p->texts.n_texts; text++) {
        const int32_t *rows = r->rows_of_texts + p->texts.offsets[text];
        int64_t n = p->texts.offsets[text + 1] - p->texts.offsets[text];
        double sum = 0.0;
        for (int64_t i = 0; i < n; i++) { /* n^2 = 1 + 3 + 5 + ... */
            sum += (2 * counts[rows[i]]++ + 1) * (double)r->energies[rows[i]];
            for (EACH_GRAM(g, rows[i]))
                sum += (2 * counts[r->grams[g]]++ + 1) * (double)r->energies[r->grams[g]];
        }
        for (int64_t i = 0; i < n; i++) {
            counts[rows[i]] = 0;
            for (EACH_GRAM(g, rows[i]))
                counts[r->grams[g]] = 0;
        }
        for (int64_t j = 0; j < p->n_dense; j++)
            sum += (double)p->dense_energy * p->dense[text * p->n_dense + j] * p->dense[text * p->n_dense + j];
        r->squares[text] = (float)(n > 0 ? sum / (double)n : 0.0) + 1.0f;
    }
    free(counts);
    return 0;
}

/* The texts that have a cost, in an order that depends on the key alone. */
static void order_texts(const linear_svm_problem *p, block *b, uint64_t key)
{
    b->n_order = 0;
    for (int64_t text = 0; text < p->texts.n_texts; text++)
        if (p->costs[text] > 0)
            b->order[b->n_order++] = text;
    for (int64_t i = b->n_order - 1; i > 0; i--) {
        int64_t other = (int64_t)(random_bits(key, (uint64_t)i) % (uint64_t)(i + 1)), last = b->order[i];
        b->order[i] = b->order[other];
        b->order[other] = last;
    }
}

/* Write the weights of a block for factor `k`, and their negatives for the class that mirrors it. */
static void write_solution(const run *r, const block *b, int64_t k)
{
    const linear_svm_problem *p = r->problem;
    int64_t n_lanes = r->n_lanes, n_classes = p->n_classes, sides = r->n_solved < n_classes ? 2 : 1;
    for (int64_t lane = 0; lane < n_lanes && b->first + lane < r->n_solved; lane++)
        for (int64_t side = 0; side < sides; side++) {
            float sign = side ? -1.0f : 1.0f;
            int64_t label = b->first + lane + side;
            const float *table = b->table + lane;
            float *rows = p->rows + k * p->n_rows * n_classes + label;
            float *grams = p->gram_weights + k * p->n_grams * n_classes + label;
            float *dense = p->dense_weights + k * p->n_dense * n_classes + label;
            for (int64_t row = 0; row < p->n_rows; row++) {
                float sum = table[r->places[row] * n_lanes];
                for (EACH_GRAM(g, r->places[row]))
                    sum += table[r->grams[g] * n_lanes];
                rows[row * n_classes] = sign * sum;
            }
            for (int64_t gram = 0; gram < p->n_grams; gram++)
                grams[gram * n_classes] = sign * table[r->places[p->n_rows + gram] * n_lanes];
            for (int64_t j = 0; j < p->n_dense; j++)
                dense[j * n_classes] = sign * table[(r->n_elements + j) * n_lanes];
            p->bias[k * n_classes + label] = sign * b->biases[lane];
        }
}

/* Copy dual variables from the problem, 0 for a text without cost, or to it. Whether any is above 0. */
static int copy_alphas(const run *r, block *b, int to_block)
{
    const linear_svm_problem *p = r->problem;
    int any = 0;
    for (int64_t text = 0; text < p->texts.n_texts; text++)
        for (int64_t lane = 0; lane < r->n_lanes && b->first + lane < r->n_solved; lane++)
            for (int64_t label = b->first + lane; label < p->n_classes; label += r->n_solved) {
                float *inside = b->alphas + text * r->n_lanes + lane;
                float *outside = p->alphas + text * p->n_classes + label;
                *(to_block ? inside : outside) = to_block ? (p->costs[text] > 0 ? *outside : 0.0f) : *inside;
                any |= *inside > 0;
            }
    return any;
}

/* The version of a function for the lanes of a run, called. */
#define CALL(function)                                                                                \
    (n_lanes == 8 ? function##8 : n_lanes == 4 ? function##4 : n_lanes == 2 ? function##2 : function##1)( \
        r, &b)

/* Solve the classes of a block. The weights stay those of the dual variables when the cost changes, so each
   factor goes on from the solution of the one before. LIBLINEAR's shrinking saves no time in so few passes. */
static void solve_block(void *argument, int64_t number)
{
    run *r = argument;
    const linear_svm_problem *p = r->problem;
    int64_t n_lanes = r->n_lanes, n_texts = p->texts.n_texts;
    block b = {.first = number * n_lanes};
    int64_t n_classes = r->n_solved - b.first < n_lanes ? r->n_solved - b.first : n_lanes;
    b.table = calloc((size_t)((r->n_elements + p->n_dense) * n_lanes) + MAX_LANES, sizeof *b.table);
    b.alphas = calloc((size_t)(n_texts * n_lanes) + MAX_LANES, sizeof *b.alphas);
    b.order = malloc(((size_t)n_texts + 1) * sizeof *b.order);
    if (b.table && b.alphas && b.order) {
        for (int64_t c = 0; c < n_classes; c++) {
            for (int64_t row = 0; row < p->n_rows; row++)
                b.table[r->places[row] * n_lanes + c] = p->rows[row * p->n_classes + b.first + c];
            b.biases[c] = p->bias[b.first + c];
        }
        int is_warm = copy_alphas(r, &b, 1);
        if (is_warm)
            CALL(start_from_alphas_);
        for (int64_t k = 0; k < p->n_factors; k++) {
            b.factor = p->factors[k];
            for (int64_t c = 0; c < n_lanes; c++)
                b.violation[c] = c < n_classes ? INFINITY : 0.0f;
            int more = 1;
            for (int64_t pass = 0; more && pass < p->max_passes; pass++) {
                for (int64_t c = 0; c < n_classes; c++) /* the second of two classes as the first */
                    for (int64_t label = b.first + c; label < p->n_classes; label += r->n_solved)
                        p->passes[k * p->n_classes + label] += b.violation[c] > p->tolerance;
                order_texts(p, &b, random_bits(p->seed, (uint64_t)(k * p->max_passes + pass)));
                CALL(pass_over_texts_);
                more = 0;
                for (int64_t c = 0; c < n_classes; c++)
                    more |= b.violation[c] > p->tolerance;
            }
            write_solution(r, &b, k);
        }
        copy_alphas(r, &b, 0);
    } else {
        atomic_store(&r->failed, 1);
    }
    free(b.table);
    free(b.alphas);
    free(b.order);
}

static int64_t next_blocks(void *argument)
{
    run *r = argument;
    int64_t n = r->n_blocks;
    r->n_blocks = 0;
    return n;
}

/* Whether the second class is the mirror image of the first: of two classes, a text has just one. */
static int is_mirrored(const linear_svm_problem *p)
{
    if (p->n_classes != 2 || !p->labels || p->positive || p->bias[1] != -p->bias[0])
        return 0;
    for (int64_t row = 0; row < p->n_rows; row++)
        if (p->rows[2 * row + 1] != -p->rows[2 * row])
            return 0;
    return 1;
}

int solve_linear_svm(const linear_svm_problem *p, int n_threads)
{
    int64_t n_ids = p->texts.offsets[p->texts.n_texts];
    int64_t n_grams = p->gram_offsets ? p->gram_offsets[p->n_rows] : 0;
    run r = {.problem = p, .n_elements = p->n_rows + p->n_grams, .n_lanes = 1};
    r.n_solved = is_mirrored(p) ? 1 : p->n_classes;
    while (r.n_lanes < MAX_LANES && r.n_lanes * n_threads < r.n_solved)
        r.n_lanes *= 2; /* few, if that occupies all threads */
    r.n_blocks = (r.n_solved + r.n_lanes - 1) / r.n_lanes;
    r.places = malloc(((size_t)r.n_elements + 1) * sizeof *r.places);
    r.energies = malloc(((size_t)r.n_elements + 1) * sizeof *r.energies);
    r.rows_of_texts = malloc(((size_t)n_ids + 1) * sizeof *r.rows_of_texts);
    r.gram_offsets = calloc((size_t)r.n_elements + 1, sizeof *r.gram_offsets);
    r.grams = malloc(((size_t)n_grams + 1) * sizeof *r.grams);
    r.squares = malloc(((size_t)p->texts.n_texts + 1) * sizeof *r.squares);
    int failed = !r.places || !r.energies || !r.rows_of_texts || !r.gram_offsets || !r.grams || !r.squares ||
                 place_elements(&r) || squares_of_texts(&r);
    if (!failed) {
        run_phases(n_threads, next_blocks, solve_block, &r);
        failed = atomic_load(&r.failed);
    }
    free(r.places);
    free(r.energies);
    free(r.rows_of_texts);
    free(r.gram_offsets);
    free(r.grams);
    free(r.squares);
    return failed ? -1 : 0;
}
