/* Runs the core's functions on calls from a file, without Python, so that the core of another processor can
   run in an emulator.

       driver CALLS RESULTS

   Both files are arrays, each after its size in bytes, an int64. A call is the array of its name, then those
   of its arguments. test_aarch64.py writes the calls and reads the results. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "explain.h"
#include "linear_svm.h"
#include "training.h"

#define MAX_ARGUMENTS 24

typedef struct {
    void *data;
    int64_t size;
} array;

static FILE *calls, *results;

static void fail(const char *message)
{
    fprintf(stderr, "driver: %s\n", message);
    exit(1);
}

static void *allocate(int64_t size)
{
    void *memory = malloc((size_t)size + 1);
    if (!memory)
        fail("out of memory");
    return memory;
}

/* Read the next array; returns 0 at the end of the file. */
static int next(array *a)
{
    if (fread(&a->size, sizeof a->size, 1, calls) != 1)
        return 0;
    a->data = allocate(a->size);
    if (fread(a->data, 1, (size_t)a->size, calls) != (size_t)a->size)
        fail("expected an array, found the end of the calls");
    return 1;
}

static void write_result(const void *data, int64_t size)
{
    if (fwrite(&size, sizeof size, 1, results) != 1 || fwrite(data, 1, (size_t)size, results) != (size_t)size)
        fail("the results cannot be written");
}

static void *or_null(array a)
{
    return a.size ? a.data : NULL;
}

/* twelve int64, in the order of network_shape */
static network_shape shape_of(array a)
{
    const int64_t *n = a.data;
    return (network_shape){n[0],      n[1],      n[2],      n[3],      n[4],       (int)n[5],
                           (int)n[6], (int)n[7], (int)n[8], (int)n[9], (int)n[10], n[11]};
}

static ragged_texts texts_of(const array *a)
{
    return (ragged_texts){.n_texts = a[1].size / 8 - 1, .ids = a[0].data, .offsets = a[1].data,
                          .n_ordered = a[2].data};
}

/* ids, offsets, n_ordered, shape, rows, dense, threads -> logits */
static void predict_rows(const array *a)
{
    compiled_network network;
    network_shape shape = shape_of(a[3]);
    prediction job = {.network = &network, .rows = texts_of(a), .n_texts = a[1].size / 8 - 1};
    int64_t size = job.n_texts * shape.n_classes * 4;
    job.out = allocate(size);
    if (compile_network(&network, shape, a[4].data, a[5].data) ||
        predict(&job, (int)*(int64_t *)a[6].data) != PREDICTED)
        fail("no prediction of rows");
    write_result(job.out, size);
    free(job.out);
    free_network(&network);
}

/* Write hashes of all tokens of a text, the ids of its features, rows before entries of the OOV table in each
   piece of the text, and the number of its words. */
static void read_all(const word_index *index, text_bytes text)
{
    normal_form form = {0};
    size_t size = (size_t)text.size;
    if (normalise_text(&index->table.unicode, &text.utf8, &size, &form) < 0)
        fail("out of memory");
    text.size = (int64_t)size;
    int64_t room = text.size + 2, n_ids = 0, n_words, n_words_in_all = 0;
    uint64_t *hashes = allocate(room * 8);
    int32_t *ids = allocate((room * (MAX_NGRAMS + MAX_OOV_ENTRIES) + MAX_FEATURES_READ) * 4);
    text_reader reader = read_text(text.utf8, (size_t)text.size);
    write_result(hashes, 8 * read_tokens(&reader, &index->table, hashes, room));
    feature_reader *features = allocate(sizeof *features);
    int more = 1;
    begin_features(features, text.utf8, (size_t)text.size);
    while (more) {
        int64_t n = read_features(index, features, ids + n_ids, &n_words, &more);
        if (n < 0)
            fail("a text is not UTF-8");
        n_words_in_all += n_words;
        n_ids += n;
        for (int i = 0; i < features->n_missing; i++) {
            int n_entries = oov_entries(index, features->missing[i], features->spelled[i], ids + n_ids);
            for (int k = 0; k < n_entries; k++)
                ids[n_ids++] += (int32_t)index->n_rows;
        }
    }
    write_result(ids, n_ids * 4);
    write_result(&n_words_in_all, 8);
    free(hashes);
    free(ids);
    free(features);
    free_normal_form(&form);
}

static void explain_one(const compiled_network *network, const word_index *words, text_bytes text)
{
    explanation e = {.network = network, .words = words, .text = text};
    if (explain(&e) != PREDICTED)
        fail("no explanation");
    write_result(e.spans, e.n_done * 16);
    write_result(e.energy, e.n_done * 8);
    write_result(e.known, e.n_done);
    write_result(e.logits, (1 + e.n_done) * network->shape.n_classes * 4);
    free_explanation(&e);
}

/* utf8, offsets, the nine arrays of UnicodeTable, buckets, oov_hashes, (ngrams, unspaced_ngrams, bits, cls),
   shape, rows, dense, threads -> probabilities, whether known; then of each text what read_all and explain_one
   write */
static void read_predict_explain(const array *a)
{
    compiled_network network;
    const int64_t *offsets = a[1].data, *settings = a[13].data;
    unicode_table unicode = {.classes = a[2].data, .folded = a[3].data, .marks = a[4].data,
                             .combining = a[5].data, .expanded = a[6].data, .expansion_offsets = a[7].data,
                             .expansion_letters = a[8].data, .pairs = a[9].data, .composites = a[10].data,
                             .n_expanded = a[6].size / 4, .n_pairs = a[10].size / 4};
    word_index words = {.table = letters(unicode), .ngrams = (int)settings[0],
                        .unspaced_ngrams = (int)settings[1], .bits = (int)settings[2], .cls = (int)settings[3]};
    network_shape shape = shape_of(a[14]);
    int64_t n = a[1].size / 8 - 1;
    text_bytes *texts = allocate(n * (int64_t)sizeof *texts);
    for (int64_t i = 0; i < n; i++)
        texts[i] = (text_bytes){(const char *)a[0].data + offsets[i], offsets[i + 1] - offsets[i], NULL};
    prediction job = {.network = &network, .words = &words, .texts = texts, .n_texts = n, .as_probabilities = 1,
                      .out = allocate(n * shape.n_classes * 4), .known = allocate(n)};
    if (make_index(&words, a[11].data, a[11].size / 4, a[12].data, a[12].size / 4) ||
        compile_network(&network, shape, a[15].data, a[16].data) ||
        predict(&job, (int)*(int64_t *)a[17].data) != PREDICTED)
        fail("no prediction of texts");
    write_result(job.out, n * shape.n_classes * 4);
    write_result(job.known, n);
    for (int64_t i = 0; i < n; i++) {
        read_all(&words, texts[i]);
        explain_one(&network, &words, texts[i]);
    }
    free(job.out);
    free(job.known);
    free(texts);
    free_index(&words);
    free_network(&network);
}

/* ids, offsets, n_ordered, shape, embedding, dense, mean, square, slots, labels, targets, order, row_rates,
   rate_factors, text_weights, positive_weights, nine float32, (batch_size, context_words, first_step, seed,
   threads) -> embedding, dense, mean, square, (loss, right) */
static void train(const array *a)
{
    const float *f = a[16].data;
    const int64_t *n = a[17].data;
    training_settings settings = {
        .row_rate = f[0], .dropout = f[1], .token_dropout = f[2], .label_smoothing = f[3],
        .adam = {f[4], f[5], f[6], f[7], f[8]}, .batch_size = n[0], .context_words = n[1], .first_step = n[2],
        .seed = (uint64_t)n[3], .row_rates = a[12].data, .rate_factors = a[13].data,
        .text_weights = a[14].data, .positive_weights = or_null(a[15])};
    network_state state = {a[4].data, a[5].data, a[6].data, a[7].data, a[8].data};
    truth truth = {a[9].data, or_null(a[10])};
    double totals[2] = {0.0, 0.0};
    if (train_network(shape_of(a[3]), state, texts_of(a), truth, a[11].data, a[11].size / 8, settings, (int)n[4],
                      totals))
        fail("no training");
    for (int i = 4; i < 8; i++)
        write_result(a[i].data, a[i].size);
    write_result(totals, sizeof totals);
}

/* ids, offsets, n_ordered, labels, targets, costs, positive, dense, gram_offsets, grams, energies, rows, bias,
   gram_weights, dense_weights, passes, alphas, factors, (dense_energy, tolerance), (max_passes, seed, threads)
   -> rows, bias, gram_weights, dense_weights, passes, alphas */
static void fit_linear_svm(const array *a)
{
    const float *f = a[18].data;
    const int64_t *n = a[19].data;
    linear_svm_problem p = {
        .n_rows = a[8].size / 8 - 1, .n_factors = a[17].size / 4, .max_passes = n[0], .texts = texts_of(a),
        .labels = or_null(a[3]), .targets = or_null(a[4]), .costs = a[5].data, .positive = or_null(a[6]),
        .dense = a[7].data, .grams = a[9].data, .energies = a[10].data, .rows = a[11].data, .bias = a[12].data,
        .gram_weights = a[13].data, .dense_weights = a[14].data, .passes = a[15].data, .alphas = a[16].data,
        .factors = a[17].data, .dense_energy = f[0], .tolerance = f[1], .seed = (uint64_t)n[1]};
    p.n_classes = a[12].size / 4 / p.n_factors;
    p.n_grams = a[10].size / 4 - p.n_rows;
    p.gram_offsets = p.n_grams ? a[8].data : NULL;
    p.n_dense = p.texts.n_texts ? a[7].size / 4 / p.texts.n_texts : 0;
    if (solve_linear_svm(&p, (int)n[2]))
        fail("no linear SVM");
    for (int i = 11; i < 17; i++)
        write_result(a[i].data, a[i].size);
}

static const struct {
    const char *name;
    int n_arguments;
    void (*run)(const array *);
} FUNCTIONS[] = {{"predict_rows", 7, predict_rows},
                 {"read_predict_explain", 18, read_predict_explain},
                 {"train", 18, train},
                 {"fit_linear_svm", 20, fit_linear_svm}};

int main(int n_arguments, char **arguments)
{
    if (n_arguments != 3 || !(calls = fopen(arguments[1], "rb")) || !(results = fopen(arguments[2], "wb")))
        fail("expected a file of calls and one for the results");
    for (array name; next(&name); free(name.data)) {
        size_t i = 0, n = sizeof FUNCTIONS / sizeof *FUNCTIONS;
        while (i < n && (strlen(FUNCTIONS[i].name) != (size_t)name.size ||
                         memcmp(FUNCTIONS[i].name, name.data, (size_t)name.size)))
            i++;
        if (i == n)
            fail("no such function");
        array a[MAX_ARGUMENTS];
        for (int k = 0; k < FUNCTIONS[i].n_arguments; k++)
            if (!next(&a[k]))
                fail("too few arguments");
        FUNCTIONS[i].run(a);
        for (int k = 0; k < FUNCTIONS[i].n_arguments; k++)
            free(a[k].data);
    }
    return fclose(results) ? 1 : 0;
}
