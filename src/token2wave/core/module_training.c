/* Training of networks. */
#include "arguments.h"
#include "linear_svm.h"
#include "training.h"

const char train_doc[] =
    "train(shape, (embedding, dense, mean, square, slots), (ids, offsets, n_ordered, labels, targets, order),\n"
    "      (row_rates, rate_factors, text_weights, positive_weights, row_rate, dropout, token_dropout,\n"
    "      label_smoothing),\n"
    "      (rate, weight_decay, beta_mean, beta_square, epsilon),\n"
    "      (batch_size, first_step, seed), n_threads) -> (loss, right)\n\n"
    "Train in place on the texts that order names, in batches. Sums over texts come back. targets, (N, C) float32,\n"
    "is empty where a text's label is its target, and positive_weights, (C,), where all classes count the same.";

/* Unpack the arguments, a tuple at a time: Python keeps room for eight buffers of nested tuples in one call, and
   does not look whether they are more. */
static int unpack(PyObject *args, network_shape *shape, training_settings *settings, Py_buffer *b, int *n_threads)
{
    PyObject *sizes, *state, *texts, *rates, *adam, *steps;
    long long batch_size, first_step;
    unsigned long long seed;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!i", &PyTuple_Type, &sizes, &PyTuple_Type, &state, &PyTuple_Type, &texts,
                          &PyTuple_Type, &rates, &PyTuple_Type, &adam, &PyTuple_Type, &steps, n_threads) ||
        !PyArg_ParseTuple(sizes, SHAPE, SHAPE_OF(*shape)) ||
        !PyArg_ParseTuple(state, "w*w*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4]) ||
        !PyArg_ParseTuple(texts, "y*y*y*y*y*y*", &b[5], &b[6], &b[7], &b[8], &b[13], &b[9]) ||
        !PyArg_ParseTuple(rates, "y*y*y*y*ffff", &b[10], &b[11], &b[12], &b[14], &settings->row_rate,
                          &settings->dropout, &settings->token_dropout, &settings->label_smoothing) ||
        !PyArg_ParseTuple(adam, "fffff", &settings->adam.rate, &settings->adam.weight_decay,
                          &settings->adam.beta_mean, &settings->adam.beta_square, &settings->adam.epsilon) ||
        !PyArg_ParseTuple(steps, "LLK", &batch_size, &first_step, &seed))
        return -1;
    settings->batch_size = batch_size;
    settings->first_step = first_step;
    settings->seed = seed;
    return 0;
}

PyObject *train(PyObject *self, PyObject *args)
{
    network_shape shape;
    training_settings settings;
    Py_buffer b[15] = {{0}};
    int n_threads;
    PyObject *result = NULL;
    (void)self;
    if (unpack(args, &shape, &settings, b, &n_threads))
        goto done;
    ragged_texts texts;
    if (!is_shape(shape))
        goto done;
    if (shape.reads_cls || shape.linear_variants || shape.has_linear_svm || shape.restore != RESTORE_LINEAR) {
        PyErr_SetString(PyExc_ValueError, "expected a network of rows without linear_svm that reads a text out as a wave");
        goto done;
    }
    int64_t n_dense = layout_of(shape).size, n_order = b[9].len / 8, batch_size = settings.batch_size;
    int64_t n_steps = batch_size > 0 ? (n_order > 0 ? (n_order - 1) / batch_size + 1 : 0) : -1;
    if (!has_size(&b[0], shape.n_rows * 2 * shape.width, 4, "embedding") ||
        !has_size(&b[1], n_dense, 4, "dense") || !has_size(&b[2], n_dense, 4, "mean") ||
        !has_size(&b[3], n_dense, 4, "square") || !has_size(&b[4], shape.n_rows, 4, "slots") ||
        !are_texts(&b[5], &b[6], &b[7], &texts) || !has_size(&b[8], texts.n_texts, 8, "labels") ||
        !has_size(&b[10], shape.n_rows, 4, "row_rates") ||
        !has_size(&b[11], n_steps, 4, "rate_factors") ||
        !has_size(&b[12], texts.n_texts, 4, "text_weights") ||
        (b[13].len && !has_size(&b[13], texts.n_texts * shape.n_classes, 4, "targets")) ||
        (b[14].len && !has_size(&b[14], shape.n_classes, 4, "positive_weights")))
        goto done;
    const int64_t *labels = b[8].buf, *order = b[9].buf;
    truth truth = {labels, b[13].len ? b[13].buf : NULL};
    int legal = 1;
    for (int64_t i = 0; i < n_order && legal; i++)
        legal = order[i] >= 0 && order[i] < texts.n_texts && labels[order[i]] >= 0 &&
                labels[order[i]] < shape.n_classes &&
                is_text(&texts, order[i], b[5].len / 4, shape.n_rows);
    if (!legal) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    network_state state = {b[0].buf, b[1].buf, b[2].buf, b[3].buf, b[4].buf};
    settings.row_rates = b[10].buf;
    settings.rate_factors = b[11].buf;
    settings.text_weights = b[12].buf;
    settings.positive_weights = b[14].len ? b[14].buf : NULL;
    double totals[2] = {0.0, 0.0};
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = train_network(shape, state, texts, truth, order, n_order, settings, n_threads, totals);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_BuildValue("dd", totals[0], totals[1]);
done:
    release(b, 15);
    return result;
}

/* Whether every row's n-grams are there; else an exception is set. */
static int are_grams(const linear_svm_problem *p, const Py_buffer *grams)
{
    int legal = p->n_rows >= 0 && p->n_grams >= 0;
    int64_t n = grams->len / 4;
    for (int64_t row = 0; legal && p->gram_offsets && row <= p->n_rows; row++)
        legal = p->gram_offsets[row] >= (row ? p->gram_offsets[row - 1] : 0) && p->gram_offsets[row] <= n;
    for (int64_t i = 0; legal && p->gram_offsets && i < n; i++)
        legal = p->grams[i] >= 0 && p->grams[i] < p->n_grams;
    if (!legal)
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
    return legal;
}

const char fit_linear_svm_doc[] =
    "fit_linear_svm((ids, offsets, n_ordered), (labels, targets, costs, positive, sizes),\n"
    "               (gram_offsets, grams, energies), (rows, bias), (most_passes, tolerance, seed), n_threads) -> passes\n\n"
    "Write each row's SVM weight for each class into rows, (V, C) float32, and bias, (C,), as near as may be to what\n"
    "they held. Either labels, (N,) int64,\n"
    "or targets, (N, C) float32, is empty; so may be positive, (C,) float32, factors of the cost of a text for the\n"
    "classes that it has.";

PyObject *fit_linear_svm(PyObject *self, PyObject *args)
{
    PyObject *texts, *givens, *made_of, *found, *settings, *result = NULL;
    Py_buffer b[13] = {{0}};
    linear_svm_problem p = {0};
    long long most_passes;
    unsigned long long seed;
    int n_threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!i", &PyTuple_Type, &texts, &PyTuple_Type, &givens, &PyTuple_Type, &made_of,
                          &PyTuple_Type, &found, &PyTuple_Type, &settings, &n_threads) ||
        !PyArg_ParseTuple(texts, "y*y*y*", &b[0], &b[1], &b[2]) ||
        !PyArg_ParseTuple(givens, "y*y*y*y*y*", &b[3], &b[4], &b[5], &b[12], &b[6]) ||
        !PyArg_ParseTuple(made_of, "y*y*y*", &b[7], &b[8], &b[9]) ||
        !PyArg_ParseTuple(found, "w*w*", &b[10], &b[11]) ||
        !PyArg_ParseTuple(settings, "LfK", &most_passes, &p.tolerance, &seed) ||
        !are_texts(&b[0], &b[1], &b[2], &p.texts))
        goto done;
    p.n_rows = b[7].len / 8 - 1;
    p.n_classes = b[11].len / 4;
    p.n_grams = b[9].len / 4 - p.n_rows;
    p.gram_offsets = p.n_grams > 0 ? b[7].buf : NULL;
    p.grams = b[8].buf;
    p.most_passes = most_passes;
    p.seed = seed;
    p.labels = b[3].len ? b[3].buf : NULL;
    p.targets = b[3].len ? NULL : b[4].buf;
    p.costs = b[5].buf;
    p.positive = b[12].len ? b[12].buf : NULL;
    p.sizes = b[6].buf;
    p.energies = b[9].buf;
    p.rows = b[10].buf;
    p.bias = b[11].buf;
    if (!has_size(p.labels ? &b[3] : &b[4], p.texts.n_texts * (p.labels ? 1 : p.n_classes), p.labels ? 8 : 4,
                  "labels or targets") ||
        !has_size(&b[5], p.texts.n_texts, 4, "costs") || (p.positive && !has_size(&b[12], p.n_classes, 4, "positive")) ||
        !has_size(&b[6], p.texts.n_texts, 4, "sizes") || !are_grams(&p, &b[8]) || !has_size(&b[10], p.n_rows * p.n_classes, 4, "rows"))
        goto done;
    int legal = 1;
    for (int64_t i = 0; i < p.texts.n_texts && legal; i++)
        legal = is_text(&p.texts, i, b[0].len / 4, p.n_rows);
    if (!legal) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    int64_t passes;
    Py_BEGIN_ALLOW_THREADS
    passes = solve_linear_svm(&p, n_threads);
    Py_END_ALLOW_THREADS
    result = passes < 0 ? PyErr_NoMemory() : PyLong_FromLongLong(passes);
done:
    release(b, 13);
    return result;
}

