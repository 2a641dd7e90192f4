/* The module token2wave.native._core: arguments checked and unpacked, the interpreter lock let go. */
#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "fixed_point.h"
#include "network.h"
#include "text.h"

static const char *WRONG_SIZE = "an array has the wrong size: %s";
static const char *INCONSISTENT = "texts, rows, labels or the order of the texts do not fit together";

static int has_size(const Py_buffer *buffer, int64_t count, size_t item, const char *name)
{
    if (count >= 0 && buffer->len == (Py_ssize_t)(count * (int64_t)item))
        return 1;
    PyErr_Format(PyExc_ValueError, WRONG_SIZE, name);
    return 0;
}

static void release(Py_buffer *buffers, int count)
{
    for (int i = 0; i < count; i++)
        if (buffers[i].obj)
            PyBuffer_Release(&buffers[i]);
}

/* ---- features ---- */

typedef struct {
    const char *utf8;
    Py_ssize_t size;
    PyObject *owner; /* the string, or an encoded copy where it is not ASCII */
} borrowed_text;

/* The text's bytes; an ASCII string lends its own. Returns 0 with an exception set where it cannot. */
static int borrow(PyObject *text, borrowed_text *out)
{
    PyObject *ascii = PyUnicode_Check(text) ? PyObject_CallMethod(text, "isascii", NULL) : NULL;
    if (!ascii) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_TypeError, "expected a list of strings");
        return 0;
    }
    int is_ascii = ascii == Py_True;
    Py_DECREF(ascii);
    if (is_ascii) {
        out->owner = Py_NewRef(text);
        out->utf8 = PyUnicode_AsUTF8AndSize(text, &out->size);
        return out->utf8 != NULL;
    }
    char *bytes;
    out->owner = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
    if (!out->owner || PyBytes_AsStringAndSize(out->owner, &bytes, &out->size))
        return 0;
    out->utf8 = bytes;
    return 1;
}

PyDoc_STRVAR(word_buckets_doc,
"word_buckets(texts, classes, lower, ngrams, bits) -> (buckets, n_words)\n\n"
"Bytes of uint32: buckets of each text's words, then of its 2-grams, and so on; and bytes of int64: the\n"
"number of words of each text.");

static PyObject *word_buckets(PyObject *self, PyObject *args)
{
    PyObject *texts, *result = NULL;
    Py_buffer buffers[2] = {{0}};
    int ngrams, bits;
    (void)self;
    if (!PyArg_ParseTuple(args, "Oy*y*ii", &texts, &buffers[0], &buffers[1], &ngrams, &bits))
        return NULL;
    Py_ssize_t n_texts = PyList_Check(texts) ? PyList_Size(texts) : -1, total = 0, longest = 0;
    borrowed_text *borrowed = NULL;
    uint64_t *hashes = NULL;
    uint32_t *buckets = NULL;
    int64_t *n_words = NULL;
    if (n_texts < 0) {
        PyErr_SetString(PyExc_TypeError, "expected a list of strings");
        goto done;
    }
    if (ngrams < 1 || bits < 1 || bits > 32 || !has_size(&buffers[0], N_CODE_POINTS, 1, "classes") ||
        !has_size(&buffers[1], N_CODE_POINTS, 4, "lower")) {
        if (!PyErr_Occurred())
            PyErr_SetString(PyExc_ValueError, "expected ngrams >= 1 and bits from 1 to 32");
        goto done;
    }
    borrowed = PyMem_Calloc((size_t)n_texts + 1, sizeof *borrowed);
    n_words = PyMem_Malloc(((size_t)n_texts + 1) * sizeof *n_words);
    if (!borrowed || !n_words) {
        PyErr_NoMemory();
        goto done;
    }
    for (Py_ssize_t i = 0; i < n_texts; i++) {
        if (!borrow(PyList_GetItem(texts, i), &borrowed[i]))
            goto done;
        total += borrowed[i].size;
        longest = borrowed[i].size > longest ? borrowed[i].size : longest;
    }
    hashes = PyMem_Malloc((2 * (size_t)longest + 1) * sizeof *hashes);
    buckets = PyMem_Malloc(((size_t)total * (size_t)ngrams + 1) * sizeof *buckets);
    if (!hashes || !buckets) {
        PyErr_NoMemory();
        goto done;
    }
    letter_table table = {buffers[0].buf, buffers[1].buf};
    int64_t written = 0;
    int is_text = 1;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n_texts && is_text; i++) {
        n_words[i] = token_hashes((const uint8_t *)borrowed[i].utf8, (size_t)borrowed[i].size, table, hashes);
        is_text = n_words[i] >= 0;
        if (is_text)
            written += ngram_buckets(hashes, hashes + longest, n_words[i], ngrams, bits, buckets + written);
    }
    Py_END_ALLOW_THREADS
    if (is_text)
        result = Py_BuildValue("y#y#", (const char *)buckets, (Py_ssize_t)(written * 4), (const char *)n_words,
                               (Py_ssize_t)(n_texts * 8));
    else
        PyErr_SetString(PyExc_ValueError, "a string could not be decoded");
done:
    for (Py_ssize_t i = 0; borrowed && i < n_texts; i++)
        Py_XDECREF(borrowed[i].owner);
    PyMem_Free(borrowed);
    PyMem_Free(n_words);
    PyMem_Free(hashes);
    PyMem_Free(buckets);
    release(buffers, 2);
    return result;
}

PyDoc_STRVAR(count_doc, "count(buckets, counts)\n\nCount uint32 buckets into uint32 counts, in place.");

static PyObject *count(PyObject *self, PyObject *args)
{
    Py_buffer buffers[2] = {{0}};
    (void)self;
    if (!PyArg_ParseTuple(args, "y*w*", &buffers[0], &buffers[1]))
        return NULL;
    const uint32_t *buckets = buffers[0].buf;
    uint32_t *counts = buffers[1].buf, n_counts = (uint32_t)(buffers[1].len / 4);
    int64_t n_buckets = buffers[0].len / 4;
    int in_range = 1;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < n_buckets; i++) {
        if (buckets[i] < n_counts)
            counts[buckets[i]]++;
        else
            in_range = 0;
    }
    Py_END_ALLOW_THREADS
    release(buffers, 2);
    if (!in_range) {
        PyErr_Format(PyExc_ValueError, WRONG_SIZE, "counts");
        return NULL;
    }
    Py_RETURN_NONE;
}

PyDoc_STRVAR(select_rows_doc,
"select_rows(buckets, n_words, ngrams, row_of_bucket, cls) -> (ids, lengths, n_ordered)\n\n"
"Rows of the buckets that have one (the others have -1), with row 0 before each text where cls is true;\n"
"bytes of int32, int64, int64.");

static PyObject *select_rows(PyObject *self, PyObject *args)
{
    Py_buffer buffers[3] = {{0}};
    int ngrams, cls;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*iy*p", &buffers[0], &buffers[1], &ngrams, &buffers[2], &cls))
        return NULL;
    const uint32_t *buckets = buffers[0].buf;
    const int64_t *n_words = buffers[1].buf;
    const int32_t *rows = buffers[2].buf;
    int64_t n_buckets = buffers[0].len / 4, n_texts = buffers[1].len / 8, n_rows = buffers[2].len / 4;
    int32_t *ids = PyMem_Malloc((size_t)(n_buckets + n_texts + 1) * sizeof *ids);
    int64_t *lengths = PyMem_Malloc((size_t)(2 * n_texts + 1) * sizeof *lengths), at = 0, out = 0;
    PyObject *result = NULL;
    if (!ids || !lengths) {
        PyErr_NoMemory();
        goto done;
    }
    int fits = 1;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts && fits; t++) {
        int64_t start = out;
        if (cls)
            ids[out++] = 0;
        for (int n = 1; n <= ngrams && fits; n++) {
            int64_t grams = n_words[t] - (n - 1);
            fits = grams <= n_buckets - at;
            for (int64_t i = 0; i < grams && fits; i++, at++) {
                int32_t row = buckets[at] < n_rows ? rows[buckets[at]] : -1;
                ids[out] = row;
                out += row >= 0;
            }
            if (n == 1)
                lengths[n_texts + t] = out - start;
        }
        lengths[t] = out - start;
    }
    Py_END_ALLOW_THREADS
    if (fits)
        result = Py_BuildValue("y#y#y#", (const char *)ids, (Py_ssize_t)(out * 4), (const char *)lengths,
                               (Py_ssize_t)(n_texts * 8), (const char *)(lengths + n_texts),
                               (Py_ssize_t)(n_texts * 8));
    else
        PyErr_Format(PyExc_ValueError, WRONG_SIZE, "n_words");
done:
    PyMem_Free(ids);
    PyMem_Free(lengths);
    release(buffers, 3);
    return result;
}

PyDoc_STRVAR(document_frequency_doc,
"document_frequency(ids, offsets, frequency, last)\n\n"
"Add to frequency[row], int64, the number of texts in which the row occurs. last: of the same size, all -1\n"
"at first.");

static PyObject *document_frequency(PyObject *self, PyObject *args)
{
    Py_buffer b[4] = {{0}};
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3]))
        return NULL;
    const int32_t *ids = b[0].buf;
    const int64_t *offsets = b[1].buf;
    int64_t *frequency = b[2].buf, *last = b[3].buf;
    int64_t n_ids = b[0].len / 4, n_texts = b[1].len / 8 - 1, n_rows = b[2].len / 8, legal = 1;
    if (!has_size(&b[3], n_rows, 8, "last"))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts; t++)
        for (int64_t i = offsets[t]; i < offsets[t + 1]; i++) {
            if (i < 0 || i >= n_ids || ids[i] < 0 || ids[i] >= n_rows) {
                legal = 0;
                break;
            }
            frequency[ids[i]] += last[ids[i]] != t;
            last[ids[i]] = t;
        }
    Py_END_ALLOW_THREADS
    if (legal)
        result = Py_NewRef(Py_None);
    else
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
done:
    release(b, 4);
    return result;
}

/* ---- networks ---- */

#define SHAPE "(LLLLLp)"
#define SHAPE_OF(s) &(s).n_rows, &(s).n_classes, &(s).width, &(s).phrase_width, &(s).radius, &(s).modulates

static int is_shape(network_shape shape)
{
    if (shape.n_rows > 0 && shape.n_classes > 0 && shape.width > 0 && shape.width % 8 == 0 &&
        shape.phrase_width >= 0 && shape.phrase_width % 8 == 0 && shape.radius > 0)
        return 1;
    PyErr_SetString(PyExc_ValueError, "expected sizes above zero, and widths that are multiples of eight");
    return 0;
}

/* Whether the arrays fit each other. */
static int are_texts(const Py_buffer *ids, const Py_buffer *offsets, const Py_buffer *n_ordered,
                     ragged_texts *out)
{
    *out = (ragged_texts){n_ordered->len / 8, ids->buf, offsets->buf, n_ordered->buf};
    return has_size(offsets, out->n_texts + 1, 8, "offsets") &&
           has_size(ids, out->offsets[out->n_texts], 4, "ids");
}

/* Whether a text lies within n_ids ids, its words within the text, and every id of it is a row. */
static int is_text(const ragged_texts *texts, int64_t text, int64_t n_ids, int64_t n_rows)
{
    int64_t first = texts->offsets[text], end = texts->offsets[text + 1];
    if (first < 0 || end < first || end > n_ids || texts->n_ordered[text] < 0 ||
        texts->n_ordered[text] > end - first)
        return 0;
    int wrong = 0;
    for (int64_t i = first; i < end; i++)
        wrong |= (uint32_t)texts->ids[i] >= (uint64_t)n_rows;
    return !wrong;
}

PyDoc_STRVAR(train_doc,
"train(shape, (embedding, dense, mean, square, slots), (ids, offsets, n_ordered, labels, order),\n"
"      (row_rates, rate_factors, row_rate, dropout, token_dropout, label_smoothing),\n"
"      (rate, weight_decay, beta_mean, beta_square, epsilon),\n"
"      (batch_size, first_step, seed), n_threads) -> (loss, right)\n\n"
"Train in place on the texts that order names, in batches. Sums over texts come back.");

static PyObject *train(PyObject *self, PyObject *args)
{
    network_shape shape;
    training_settings settings;
    Py_buffer b[12] = {{0}};
    int n_threads;
    long long batch_size, first_step;
    unsigned long long seed;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, SHAPE "(w*w*w*w*w*)(y*y*y*y*y*)(y*y*ffff)(fffff)(LLK)i", SHAPE_OF(shape), &b[0],
                          &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7], &b[8], &b[9], &b[10], &b[11],
                          &settings.row_rate, &settings.dropout, &settings.token_dropout,
                          &settings.label_smoothing, &settings.adam.rate, &settings.adam.weight_decay,
                          &settings.adam.beta_mean, &settings.adam.beta_square, &settings.adam.epsilon,
                          &batch_size, &first_step, &seed, &n_threads))
        return NULL;
    ragged_texts texts;
    if (!is_shape(shape))
        goto done;
    int64_t n_dense = dense_size(shape), n_order = b[9].len / 8;
    int64_t n_steps = batch_size > 0 ? (n_order > 0 ? (n_order - 1) / batch_size + 1 : 0) : -1;
    if (!has_size(&b[0], shape.n_rows * 2 * shape.width, 4, "embedding") ||
        !has_size(&b[1], n_dense, 4, "dense") || !has_size(&b[2], n_dense, 4, "mean") ||
        !has_size(&b[3], n_dense, 4, "square") || !has_size(&b[4], shape.n_rows, 4, "slots") ||
        !are_texts(&b[5], &b[6], &b[7], &texts) || !has_size(&b[8], texts.n_texts, 8, "labels") ||
        !has_size(&b[10], shape.n_rows, 4, "row_rates") ||
        !has_size(&b[11], n_steps, 4, "rate_factors"))
        goto done;
    const int64_t *labels = b[8].buf, *order = b[9].buf;
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
    settings.batch_size = batch_size;
    settings.first_step = first_step;
    settings.seed = seed;
    settings.row_rates = b[10].buf;
    settings.rate_factors = b[11].buf;
    double totals[2] = {0.0, 0.0};
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = train_network(shape, state, texts, labels, order, n_order, settings, n_threads, totals);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_BuildValue("dd", totals[0], totals[1]);
done:
    release(b, 12);
    return result;
}

PyDoc_STRVAR(logits_doc,
"logits(shape, (embedding, dense, slots), (ids, offsets, n_ordered), out, n_threads)\n\n"
"Write the logits of all texts, (N, C) float32.");

static PyObject *logits(PyObject *self, PyObject *args)
{
    network_shape shape;
    Py_buffer b[7] = {{0}};
    int n_threads;
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, SHAPE "(y*y*w*)(y*y*y*)w*i", SHAPE_OF(shape), &b[0], &b[1], &b[2], &b[3], &b[4],
                          &b[5], &b[6], &n_threads))
        return NULL;
    ragged_texts texts;
    if (!is_shape(shape) || !has_size(&b[0], shape.n_rows * 2 * shape.width, 4, "embedding") ||
        !has_size(&b[1], dense_size(shape), 4, "dense") ||
        !has_size(&b[2], shape.phrase_width ? shape.n_rows : 0, 4, "slots") ||
        !are_texts(&b[3], &b[4], &b[5], &texts) ||
        !has_size(&b[6], texts.n_texts * shape.n_classes, 4, "out"))
        goto done;
    int legal = 1;
    for (int64_t i = 0; i < texts.n_texts && legal; i++)
        legal = is_text(&texts, i, b[3].len / 4, shape.n_rows);
    if (!legal) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    network_state state = {b[0].buf, b[1].buf, 0, 0, b[2].buf};
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = network_logits(shape, state, texts, n_threads, b[6].buf);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
done:
    release(b, 7);
    return result;
}

/* ---- products ---- */

PyDoc_STRVAR(fixed_point_available_doc,
"fixed_point_available() -> bool\n\nWhether this processor can compute fixed_point_product.");

static PyObject *get_fixed_point_available(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyBool_FromLong(fixed_point_available());
}

PyDoc_STRVAR(fixed_point_product_doc,
"fixed_point_product((a, a_transposed), (b, b_transposed), out, (m, n, k), n_threads)\n\n"
"Write the product a b, (M, N) float32, in block fixed point of 16 bits. a is (M, K), or (K, M) if it is\n"
"transposed; b is (K, N), or (N, K).");

static PyObject *get_fixed_point_product(PyObject *self, PyObject *args)
{
    Py_buffer b[3] = {{0}};
    int a_transposed, b_transposed, n_threads;
    long long m, n, k, most = 1 << 30; /* so that no size below overflows */
    PyObject *result = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "(y*p)(y*p)w*(LLL)i", &b[0], &a_transposed, &b[1], &b_transposed, &b[2], &m,
                          &n, &k, &n_threads))
        return NULL;
    if (m < 0 || n < 0 || k < 0 || m > most || n > most || k > most) {
        PyErr_SetString(PyExc_ValueError, "expected sizes from 0 to 2^30");
        goto done;
    }
    if (!has_size(&b[0], m * k, 4, "a") || !has_size(&b[1], k * n, 4, "b") ||
        !has_size(&b[2], m * n, 4, "out"))
        goto done;
    if (!fixed_point_available()) {
        PyErr_SetString(PyExc_RuntimeError, "this processor lacks AVX2");
        goto done;
    }
    int failed;
    Py_BEGIN_ALLOW_THREADS
    failed = fixed_point_product(m, n, k, b[0].buf, a_transposed, b[1].buf, b_transposed, b[2].buf,
                                 n_threads);
    Py_END_ALLOW_THREADS
    result = failed ? PyErr_NoMemory() : Py_NewRef(Py_None);
done:
    release(b, 3);
    return result;
}

static PyMethodDef methods[] = {
    {"word_buckets", word_buckets, METH_VARARGS, word_buckets_doc},
    {"count", count, METH_VARARGS, count_doc},
    {"select_rows", select_rows, METH_VARARGS, select_rows_doc},
    {"document_frequency", document_frequency, METH_VARARGS, document_frequency_doc},
    {"train", train, METH_VARARGS, train_doc},
    {"logits", logits, METH_VARARGS, logits_doc},
    {"fixed_point_available", get_fixed_point_available, METH_NOARGS, fixed_point_available_doc},
    {"fixed_point_product", get_fixed_point_product, METH_VARARGS, fixed_point_product_doc},
    {NULL, NULL, 0, NULL},
};

static PyModuleDef_Slot slots[] = {{0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "token2wave.native._core", "Hot paths in C.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
