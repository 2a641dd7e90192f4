/* Prediction with compiled tables. Tables and word features are opened once, and live in capsules. */
#include "arguments.h"

static const char *const WORDS = "token2wave words", *const TABLES = "token2wave tables";
#define TEXTS_BETWEEN_SIGNALS 8192 /* and so many encoded copies at most are held */

/* ---- what is opened ---- */

typedef struct {
    word_index index;
    Py_buffer letters[2];
} opened_words;

static void close_words(PyObject *capsule)
{
    opened_words *words = PyCapsule_GetPointer(capsule, WORDS);
    free_index(&words->index);
    release(words->letters, 2);
    PyMem_Free(words);
}

const char open_words_doc[] =
    "open_words(classes, lower, buckets, ngrams, bits, cls) -> capsule\n\n"
    "Word features. classes, lower: (0x110000,) uint8 and uint32, by code point. buckets: (V,) uint32,\n"
    "increasing, below 2^bits.";

PyObject *open_words(PyObject *self, PyObject *args)
{
    Py_buffer b[3] = {{0}};
    word_index index = {0};
    opened_words *words = NULL;
    PyObject *capsule = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "y*y*y*iip", &b[0], &b[1], &b[2], &index.ngrams, &index.bits, &index.cls))
        return NULL;
    if (!has_size(&b[0], N_CODE_POINTS, 1, "classes") || !has_size(&b[1], N_CODE_POINTS, 4, "lower"))
        goto done;
    const uint32_t *buckets = b[2].buf, *lower = b[1].buf;
    int64_t n = b[2].len / 4;
    int legal = index.ngrams >= 1 && index.ngrams <= MAX_NGRAMS && index.bits >= 1 && index.bits <= 31;
    for (int64_t i = 0; legal && i < n; i++)
        legal = (i ? buckets[i] > buckets[i - 1] : 1) && buckets[i] >> index.bits == 0;
    for (int64_t i = 0; legal && i < N_CODE_POINTS; i++)
        legal = lower[i] < (i < N_ASCII ? N_ASCII : N_CODE_POINTS);
    if (!legal) {
        PyErr_SetString(PyExc_ValueError, "expected increasing buckets, and ngrams, bits and letters in bounds");
        goto done;
    }
    index.table = letters(b[0].buf, lower);
    words = PyMem_Calloc(1, sizeof *words);
    if (!words || make_index(&index, buckets, n)) {
        PyErr_NoMemory();
        goto done;
    }
    words->index = index;
    if ((capsule = PyCapsule_New(words, WORDS, close_words))) { /* it keeps the letters */
        words->letters[0] = b[0];
        words->letters[1] = b[1];
        b[0].obj = b[1].obj = NULL;
        words = NULL;
    } else {
        free_index(&index);
    }
done:
    PyMem_Free(words);
    release(b, 3);
    return capsule;
}

typedef struct {
    tables tables;
    Py_buffer rows;
} opened_tables;

static void close_tables(PyObject *capsule)
{
    opened_tables *opened = PyCapsule_GetPointer(capsule, TABLES);
    free_tables(&opened->tables);
    release(&opened->rows, 1);
    PyMem_Free(opened);
}

const char open_tables_doc[] =
    "open_tables(shape, rows, dense) -> capsule\n\n"
    "A network. rows: (V, R) float32, which must not change while it is open. dense: all other parameters,\n"
    "float32, in the order of WaveConfig.parameter_shapes.";

PyObject *open_tables(PyObject *self, PyObject *args)
{
    network_shape shape;
    Py_buffer b[2] = {{0}};
    opened_tables *opened = NULL;
    PyObject *capsule = NULL;
    (void)self;
    if (!PyArg_ParseTuple(args, "(" SHAPE ")y*y*", SHAPE_OF(shape), &b[0], &b[1]))
        return NULL;
    if (!is_shape(shape) || !has_size(&b[0], shape.n_rows * row_width(shape), 4, "rows") ||
        !has_size(&b[1], layout_of(shape).size, 4, "dense"))
        goto done;
    if (!(opened = PyMem_Calloc(1, sizeof *opened)) ||
        make_tables(&opened->tables, shape, b[0].buf, b[1].buf)) {
        PyErr_NoMemory();
        goto done;
    }
    if ((capsule = PyCapsule_New(opened, TABLES, close_tables))) { /* it keeps the rows */
        opened->rows = b[0];
        b[0].obj = NULL;
        opened = NULL;
    }
done:
    if (opened)
        free_tables(&opened->tables);
    PyMem_Free(opened);
    release(b, 2);
    return capsule;
}

/* ---- prediction ---- */

/* Run without the interpreter lock; 0 with an exception set where it went wrong. */
static int run_prediction(prediction *job, int n_threads)
{
    int outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = predict(job, n_threads);
    Py_END_ALLOW_THREADS
    if (outcome == OUT_OF_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NOT_UTF8)
        PyErr_SetString(PyExc_ValueError, "a string could not be decoded");
    return outcome == PREDICTED;
}

static void give_back(borrowed_text *borrowed, Py_ssize_t *held)
{
    for (Py_ssize_t i = 0; i < *held; i++) {
        Py_XDECREF(borrowed[i].owner);
        borrowed[i].owner = NULL;
    }
    *held = 0;
}

const char predict_texts_doc[] =
    "predict_texts(words, tables, texts, out, as_probabilities, n_threads)\n\n"
    "Write probabilities or logits of all texts, a list of strings, into out, (N, C) float32.";

PyObject *predict_texts(PyObject *self, PyObject *args)
{
    PyObject *words_capsule, *tables_capsule, *texts, *result = NULL;
    Py_buffer out = {0};
    int as_probabilities, n_threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "OOOw*pi", &words_capsule, &tables_capsule, &texts, &out, &as_probabilities,
                          &n_threads))
        return NULL;
    opened_words *words = PyCapsule_GetPointer(words_capsule, WORDS);
    opened_tables *opened = words ? PyCapsule_GetPointer(tables_capsule, TABLES) : NULL;
    text_bytes *bytes = NULL;
    borrowed_text *borrowed = NULL;
    Py_ssize_t held = 0;
    if (!opened)
        goto done;
    int64_t n = PyList_Check(texts) ? PyList_Size(texts) : -1, c = opened->tables.shape.n_classes;
    if (n < 0) {
        PyErr_SetString(PyExc_TypeError, "expected a list of strings");
        goto done;
    }
    if (!has_size(&out, n * c, 4, "out"))
        goto done;
    if (words->index.n_rows != opened->tables.shape.n_rows) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    size_t room = (size_t)(n < TEXTS_BETWEEN_SIGNALS ? n : TEXTS_BETWEEN_SIGNALS) + 1;
    bytes = PyMem_Malloc(room * sizeof *bytes);
    borrowed = PyMem_Calloc(room, sizeof *borrowed);
    if (!bytes || !borrowed) {
        PyErr_NoMemory();
        goto done;
    }
    for (int64_t first = 0; first < n; first += TEXTS_BETWEEN_SIGNALS) {
        int64_t some = n - first < TEXTS_BETWEEN_SIGNALS ? n - first : TEXTS_BETWEEN_SIGNALS;
        for (; held < some; held++) {
            if (!borrow(texts, (Py_ssize_t)(first + held), &borrowed[held])) {
                held++; /* it may own something all the same */
                goto done;
            }
            bytes[held] = borrowed[held].text;
        }
        prediction job = {.tables = &opened->tables, .words = &words->index, .texts = bytes, .n_texts = some,
                          .as_probabilities = as_probabilities, .out = (float *)out.buf + first * c};
        if (!run_prediction(&job, n_threads) || PyErr_CheckSignals())
            goto done;
        give_back(borrowed, &held);
    }
    result = Py_NewRef(Py_None);
done:
    give_back(borrowed, &held);
    PyMem_Free(bytes);
    PyMem_Free(borrowed);
    release(&out, 1);
    return result;
}

const char predict_utf8_doc[] =
    "predict_utf8(words, tables, (utf8, offsets), out, as_probabilities, n_threads)\n\n"
    "As predict_texts, of texts that lie one behind the other in a buffer of UTF-8, as Arrow keeps them: text i\n"
    "is utf8[offsets[i]:offsets[i + 1]]. offsets: (N + 1,) int64. Neither may change meanwhile.";

PyObject *predict_utf8(PyObject *self, PyObject *args)
{
    PyObject *words_capsule, *tables_capsule, *result = NULL;
    Py_buffer b[3] = {{0}};
    int as_probabilities, n_threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "OO(y*y*)w*pi", &words_capsule, &tables_capsule, &b[0], &b[1], &b[2],
                          &as_probabilities, &n_threads))
        return NULL;
    opened_words *words = PyCapsule_GetPointer(words_capsule, WORDS);
    opened_tables *opened = words ? PyCapsule_GetPointer(tables_capsule, TABLES) : NULL;
    text_bytes *bytes = NULL;
    if (!opened)
        goto done;
    const int64_t *offsets = b[1].buf;
    int64_t n = b[1].len / 8 - 1, c = opened->tables.shape.n_classes;
    int legal = n >= 0 && b[1].len % 8 == 0 && offsets[0] >= 0 && offsets[n] <= b[0].len;
    for (int64_t i = 0; i < n && legal; i++)
        legal = offsets[i] <= offsets[i + 1];
    if (!legal || words->index.n_rows != opened->tables.shape.n_rows) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    if (!has_size(&b[2], n * c, 4, "out"))
        goto done;
    size_t room = (size_t)(n < TEXTS_BETWEEN_SIGNALS ? n : TEXTS_BETWEEN_SIGNALS) + 1;
    if (!(bytes = PyMem_Malloc(room * sizeof *bytes))) {
        PyErr_NoMemory();
        goto done;
    }
    for (int64_t first = 0; first < n; first += TEXTS_BETWEEN_SIGNALS) {
        int64_t some = n - first < TEXTS_BETWEEN_SIGNALS ? n - first : TEXTS_BETWEEN_SIGNALS;
        for (int64_t i = 0; i < some; i++) {
            int64_t from = offsets[first + i];
            bytes[i] = (text_bytes){(const char *)b[0].buf + from, offsets[first + i + 1] - from};
        }
        prediction job = {.tables = &opened->tables, .words = &words->index, .texts = bytes, .n_texts = some,
                          .as_probabilities = as_probabilities, .out = (float *)b[2].buf + first * c};
        if (!run_prediction(&job, n_threads) || PyErr_CheckSignals())
            goto done;
    }
    result = Py_NewRef(Py_None);
done:
    PyMem_Free(bytes);
    release(b, 3);
    return result;
}

const char predict_rows_doc[] =
    "predict_rows(tables, (ids, offsets, n_ordered), out, as_probabilities, n_threads)\n\n"
    "Write probabilities or logits of texts that are features already into out, (N, C) float32. The arrays must\n"
    "not change meanwhile: they are checked once, and the interpreter lock is let go.";

PyObject *predict_rows(PyObject *self, PyObject *args)
{
    PyObject *capsule, *result = NULL;
    Py_buffer b[4] = {{0}};
    int as_probabilities, n_threads;
    (void)self;
    if (!PyArg_ParseTuple(args, "O(y*y*y*)w*pi", &capsule, &b[0], &b[1], &b[2], &b[3], &as_probabilities,
                          &n_threads))
        return NULL;
    ragged_texts rows;
    opened_tables *opened = PyCapsule_GetPointer(capsule, TABLES);
    if (!opened || !are_texts(&b[0], &b[1], &b[2], &rows) ||
        !has_size(&b[3], rows.n_texts * opened->tables.shape.n_classes, 4, "out"))
        goto done;
    int legal = 1;
    for (int64_t i = 0; i < rows.n_texts && legal; i++)
        legal = is_text(&rows, i, b[0].len / 4, opened->tables.shape.n_rows);
    if (!legal) {
        PyErr_SetString(PyExc_ValueError, INCONSISTENT);
        goto done;
    }
    prediction job = {.tables = &opened->tables, .rows = rows, .n_texts = rows.n_texts,
                      .as_probabilities = as_probabilities, .out = b[3].buf};
    if (run_prediction(&job, n_threads))
        result = Py_NewRef(Py_None);
done:
    release(b, 4);
    return result;
}
