#include "linear_svm.h"

#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "dense.h"
#include "memory.h"
#include "session.h"
#include "threads.h"

#define MAX_LANES 8
#define ENTRIES_AHEAD 16
#define MANY 1024 /* occurrences of an element that is always in the cache */

typedef struct {
    const linear_svm_problem *problem;
    int64_t n_elements; /* E = V + G */
    int32_t *places;    /* (E,) of rows, then of n-grams: elements of many texts stand side by side */
    float *energies;    /* (E,) at their places */
    int count_shift;        /* an entry of a text is the place of an element, and from this bit on its count - 1 */
    uint32_t *entries;      /* rows and n-grams of the texts; an element that occurs more often has several */
    int64_t *starts;        /* (N + 1,) of each text among them */
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

/* Loop over the character n-grams of a row: g is their index in p->grams. */
#define EACH_GRAM(g, row)                                                                             \
    int64_t g = p->gram_offsets ? p->gram_offsets[row] : 0,                                           \
            end_of_grams = p->gram_offsets ? p->gram_offsets[(row) + 1] : 0;                          \
    g < end_of_grams;                                                                                 \
    g++

/* Place and count of an entry. */
#define PLACE_OF(entry) ((entry) & (((uint32_t)1 << r->count_shift) - 1))
#define COUNT_OF(entry) ((float)(int32_t)(((entry) >> r->count_shift) + 1))

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
    int64_t *counts = calloc((size_t)r->n_elements + 1, sizeof *counts);
    if (counts) {
        for (int64_t i = 0; i < n_ids; i++)
            counts[p->texts.ids[i]]++;
        for (int64_t row = 0; row < p->n_rows; row++)
            for (EACH_GRAM(g, row))
                counts[p->n_rows + p->grams[g]] += counts[row];
        for (int64_t e = 0; e < r->n_elements; e++)
            starts[MANY - (counts[e] < MANY ? counts[e] : MANY) + 1]++;
        for (int64_t bucket = 0; bucket <= MANY; bucket++)
            starts[bucket + 1] += starts[bucket];
        for (int64_t e = 0; e < r->n_elements; e++) {
            int64_t place = starts[MANY - (counts[e] < MANY ? counts[e] : MANY)]++;
            r->places[e] = (int32_t)place;
            r->energies[place] = p->energies[e];
        }
    }
    int failed = !counts;
    free(counts);
    return failed ? -1 : 0;
}

/* Add one to the count of an element of the current text, and note its place if it is new. */
INLINE void count_element(const run *r, int32_t *counts, int32_t element, uint32_t *entries, int64_t *n)
{
    uint32_t place = (uint32_t)r->places[element];
    if (!counts[place]++)
        entries[(*n)++] = place;
}

/* Merge the elements of each text, and take |x_i|^2 + 1 of it: an element that occurs n times in a text counts
   n^2 times. */
static int merge_elements(run *r)
{
    const linear_svm_problem *p = r->problem;
    int64_t room = 0, n = 0, n_counts = (int64_t)1 << (32 - r->count_shift);
    for (int64_t i = p->texts.offsets[0]; i < p->texts.offsets[p->texts.n_texts]; i++) {
        int32_t row = p->texts.ids[i];
        room += 1 + (p->gram_offsets ? p->gram_offsets[row + 1] - p->gram_offsets[row] : 0);
    }
    int32_t *counts = allocate_table(((size_t)r->n_elements + 1) * sizeof *counts);
    r->entries = malloc(((size_t)room + 1) * sizeof *r->entries);
    if (!counts || !r->entries) {
        free(counts);
        return -1;
    }
    for (int64_t text = 0; text < p->texts.n_texts; text++) {
        int64_t first = n, size = p->texts.offsets[text + 1] - p->texts.offsets[text];
        double sum = 0.0;
        for (int64_t i = p->texts.offsets[text]; i < p->texts.offsets[text + 1]; i++) {
            int32_t row = p->texts.ids[i];
            count_element(r, counts, row, r->entries, &n);
            for (EACH_GRAM(g, row))
                count_element(r, counts, (int32_t)p->n_rows + p->grams[g], r->entries, &n);
        }
        for (int64_t i = first, end = n; i < end; i++) {
            uint32_t place = r->entries[i];
            sum += (double)counts[place] * counts[place] * (double)r->energies[place];
            for (int64_t more = counts[place], most = n_counts; more > 0; more -= most) {
                uint32_t count = (uint32_t)(more < most ? more : most);
                r->entries[more == counts[place] ? i : n++] = place | (count - 1) << r->count_shift;
            }
            counts[place] = 0;
        }
        for (int64_t j = 0; j < p->n_dense; j++)
            sum += (double)p->dense_energy * p->dense[text * p->n_dense + j] * p->dense[text * p->n_dense + j];
        r->squares[text] = (float)(size > 0 ? sum / (double)size : 0.0) + 1.0f;
        r->starts[text + 1] = n;
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
                for (EACH_GRAM(g, row))
                    sum += table[r->places[p->n_rows + p->grams[g]] * n_lanes];
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
    b.table = allocate_table(((size_t)((r->n_elements + p->n_dense) * n_lanes) + MAX_LANES) * sizeof *b.table);
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
    run r = {.problem = p, .n_elements = p->n_rows + p->n_grams, .n_lanes = 1};
    while ((int64_t)1 << r.count_shift < r.n_elements)
        r.count_shift++;
    r.n_solved = is_mirrored(p) ? 1 : p->n_classes;
    while (r.n_lanes < MAX_LANES && r.n_lanes * n_threads < r.n_solved)
        r.n_lanes *= 2; /* few, if that occupies all threads */
    r.n_blocks = (r.n_solved + r.n_lanes - 1) / r.n_lanes;
    r.places = allocate_table(((size_t)r.n_elements + 1) * sizeof *r.places);
    r.energies = allocate_table(((size_t)r.n_elements + 1) * sizeof *r.energies);
    r.starts = calloc((size_t)p->texts.n_texts + 1, sizeof *r.starts);
    r.squares = malloc(((size_t)p->texts.n_texts + 1) * sizeof *r.squares);
    int failed = !r.places || !r.energies || !r.starts || !r.squares || place_elements(&r) ||
                 merge_elements(&r);
    if (!failed) {
        run_phases(n_threads, next_blocks, solve_block, &r);
        failed = atomic_load(&r.failed);
    }
    free(r.places);
    free(r.energies);
    free(r.entries);
    free(r.starts);
    free(r.squares);
    return failed ? -1 : 0;
}
