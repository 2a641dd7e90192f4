/* Training of networks and of linear SVMs. */
#include "arguments.h"
#include "linear_svm.h"
#include "training.h"

/* Python keeps room for eight buffers of nested tuples in one call, and does not check for more. So both
   methods unpack their arguments a tuple at a time. */

METHOD(train)
{
    PyObject *sizes, *weights, *examples, *factors, *adam, *steps, *result = NULL;
    network_shape shape;
    training_settings settings;
    ragged_texts texts;
    Py_buffer b[15] = {{0}};
    int n_threads;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!O!i", &PyTuple_Type, &sizes, &PyTuple_Type, &weights,
                          &PyTuple_Type, &examples, &PyTuple_Type, &factors, &PyTuple_Type, &adam,
                          &PyTuple_Type, &steps, &n_threads) ||
        !PyArg_ParseTuple(sizes, SHAPE, SHAPE_OF(shape)) ||
        !PyArg_ParseTuple(weights, "w*w*w*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4]) ||
        !PyArg_ParseTuple(examples, "y*y*y*y*y*y*", &b[5], &b[6], &b[7], &b[8], &b[9], &b[10]) ||
        !PyArg_ParseTuple(factors, "y*y*y*y*ffff", &b[11], &b[12], &b[13], &b[14], &settings.row_rate,
                          &settings.dropout, &settings.token_dropout, &settings.label_smoothing) ||
        !PyArg_ParseTuple(adam, "fffff", &settings.adam.rate, &settings.adam.weight_decay,
                          &settings.adam.beta_mean, &settings.adam.beta_square, &settings.adam.epsilon) ||
        !PyArg_ParseTuple(steps, "LLLK", &settings.batch_size, &settings.context_words,
                          &settings.first_step, &settings.seed) ||
        !is_shape(shape))
        goto done;
    if (shape.reads_cls || shape.linear_variants || shape.has_linear_svm || shape.restore != RESTORE_LINEAR) {
        refuse("expected a network of rows without linear_svm that reads a text out as a wave");
        goto done;
    }
    int64_t n_dense = layout_of(shape).size, n_order = b[10].len / 8, batch_size = settings.batch_size;
    int64_t n_steps = batch_size > 0 ? (n_order > 0 ? (n_order - 1) / batch_size + 1 : 0) : -1;
    if (!has_size(&b[0], shape.n_rows * 2 * shape.width, 4, "embedding") ||
        !has_size(&b[1], n_dense, 4, "dense") || !has_size(&b[2], n_dense, 4, "mean") ||
        !has_size(&b[3], n_dense, 4, "square") || !has_size(&b[4], shape.n_rows, 4, "slots") ||
        !are_texts(&b[5], shape.n_rows, 0, &texts) || !has_size(&b[8], texts.n_texts, 8, "labels") ||
        (b[9].len && !has_size(&b[9], texts.n_texts * shape.n_classes, 4, "targets")) ||
        !has_size(&b[11], shape.n_rows, 4, "row_rates") || !has_size(&b[12], n_steps, 4, "rate_factors") ||
        !has_size(&b[13], texts.n_texts, 4, "text_weights") ||
        (b[14].len && !has_size(&b[14], shape.n_classes, 4, "positive_weights")))
        goto done;
    const int64_t *labels = b[8].buf, *order = b[10].buf;
    truth truth = {labels, b[9].len ? b[9].buf : NULL};
    int legal = 1;
    for (int64_t i = 0; i < n_order && legal; i++)
        legal = order[i] >= 0 && order[i] < texts.n_texts && labels[order[i]] >= 0 &&
                labels[order[i]] < shape.n_classes;
    if (!legal) {
        refuse(INCONSISTENT);
        goto done;
    }
    network_state state = {b[0].buf, b[1].buf, b[2].buf, b[3].buf, b[4].buf};
    settings.row_rates = b[11].buf;
    settings.rate_factors = b[12].buf;
    settings.text_weights = b[13].buf;
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

/* Whether the offsets and numbers of the rows' n-grams are within bounds; else an exception is set. */
static int are_grams(const linear_svm_problem *p, const Py_buffer *grams)
{
    int legal = p->n_rows >= 0 && p->n_grams >= 0;
    int64_t n = grams->len / 4;
    for (int64_t row = 0; legal && p->gram_offsets && row <= p->n_rows; row++)
        legal = p->gram_offsets[row] >= (row ? p->gram_offsets[row - 1] : 0) && p->gram_offsets[row] <= n;
    for (int64_t i = 0; legal && p->gram_offsets && i < n; i++)
        legal = p->grams[i] >= 0 && p->grams[i] < p->n_grams;
    if (!legal)
        refuse(INCONSISTENT);
    return legal;
}

METHOD(fit_linear_svm)
{
    PyObject *texts, *examples, *features, *weights, *settings, *result = NULL;
    Py_buffer b[18] = {{0}};
    linear_svm_problem p = {0};
    int n_threads;
    if (!PyArg_ParseTuple(args, "O!O!O!O!O!i", &PyTuple_Type, &texts, &PyTuple_Type, &examples, &PyTuple_Type,
                          &features, &PyTuple_Type, &weights, &PyTuple_Type, &settings, &n_threads) ||
        !PyArg_ParseTuple(texts, "y*y*y*", &b[0], &b[1], &b[2]) ||
        !PyArg_ParseTuple(examples, "y*y*y*y*y*", &b[3], &b[4], &b[5], &b[6], &b[7]) ||
        !PyArg_ParseTuple(features, "y*y*y*f", &b[8], &b[9], &b[10], &p.dense_energy) ||
        !PyArg_ParseTuple(weights, "w*w*w*w*w*w*", &b[11], &b[12], &b[13], &b[14], &b[15], &b[17]) ||
        !PyArg_ParseTuple(settings, "y*LfK", &b[16], &p.max_passes, &p.tolerance, &p.seed))
        goto done;
    p.n_factors = b[16].len / 4;
    if (p.n_factors < 1) {
        refuse(INCONSISTENT);
        goto done;
    }
    p.n_rows = b[8].len / 8 - 1;
    p.n_classes = b[12].len / 4 / p.n_factors;
    p.n_grams = b[10].len / 4 - p.n_rows;
    p.labels = b[3].len ? b[3].buf : NULL;
    p.targets = b[3].len ? NULL : b[4].buf;
    p.costs = b[5].buf;
    p.positive = b[6].len ? b[6].buf : NULL;
    p.dense = b[7].buf;
    p.gram_offsets = p.n_grams > 0 ? b[8].buf : NULL;
    p.grams = b[9].buf;
    p.energies = b[10].buf;
    p.rows = b[11].buf;
    p.bias = b[12].buf;
    p.gram_weights = b[13].buf;
    p.dense_weights = b[14].buf;
    p.passes = b[15].buf;
    p.factors = b[16].buf;
    p.alphas = b[17].buf;
    if (!are_texts(b, p.n_rows, 0, &p.texts))
        goto done;
    int64_t n_outputs = p.n_factors * p.n_classes;
    p.n_dense = n_outputs ? b[14].len / 4 / n_outputs : 0;
    if (!(p.labels ? has_size(&b[3], p.texts.n_texts, 8, "labels")
                   : has_size(&b[4], p.texts.n_texts * p.n_classes, 4, "targets")) ||
        !has_size(&b[5], p.texts.n_texts, 4, "costs") ||
        (p.positive && !has_size(&b[6], p.n_classes, 4, "positive")) ||
        !has_size(&b[7], p.texts.n_texts * p.n_dense, 4, "dense") || !are_grams(&p, &b[9]) ||
        !has_size(&b[11], p.n_rows * n_outputs, 4, "rows") || !has_size(&b[12], n_outputs, 4, "bias") ||
        !has_size(&b[13], p.n_grams * n_outputs, 4, "gram_weights") ||
        !has_size(&b[14], p.n_dense * n_outputs, 4, "dense_weights") ||
        !has_size(&b[15], n_outputs, 8, "passes") ||
        !has_size(&b[17], p.texts.n_texts * p.n_classes, 4, "alphas"))
        goto done;
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = solve_linear_svm(&p, n_threads);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
done:
    release(b, 18);
    return result;
}
