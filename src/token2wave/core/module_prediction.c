/* Prediction with a compiled network. Networks and word features are opened once, and live in capsules. */
#include "arguments.h"

#include <stdlib.h>

#include "explain.h"

static const char *const WORDS = "token2wave words", *const NETWORK = "token2wave network";
#define TEXTS_CHUNK 8192 /* between two looks for signals */

/* ---- handles ---- */

typedef struct {
    word_index index;
    PyObject *letters;
} feature_handle;

static void close_words(PyObject *capsule)
{
    feature_handle *handle = PyCapsule_GetPointer(capsule, WORDS);
    free_index(&handle->index);
    Py_DECREF(handle->letters);
    PyMem_Free(handle);
}

METHOD(open_words)
{
    Py_buffer b[2] = {{0}};
    word_index index = {0};
    feature_handle *handle = NULL;
    PyObject *letters, *capsule = NULL;
    if (!PyArg_ParseTuple(args, "Oy*y*iiip", &letters, &b[0], &b[1], &index.ngrams, &index.unspaced_ngrams,
                          &index.bits, &index.cls))
        return NULL;
    const letter_table *table = letters_in(letters);
    if (!table)
        goto done;
    const uint32_t *buckets = b[0].buf, *oov_hashes = b[1].buf;
    int64_t n = b[0].len / 4, n_oov = b[1].len / 4;
    int legal = index.ngrams >= 1 && index.ngrams <= MAX_NGRAMS && index.unspaced_ngrams >= 1 &&
                index.unspaced_ngrams <= MAX_NGRAMS && index.bits >= 1 && index.bits <= 31;
    for (int64_t i = 0; legal && i < n; i++)
        legal = (i ? buckets[i] > buckets[i - 1] : 1) && buckets[i] >> index.bits == 0;
    for (int64_t i = 1; legal && i < n_oov; i++)
        legal = oov_hashes[i] > oov_hashes[i - 1];
    if (!legal) {
        refuse("expected increasing buckets and hashes, and ngrams and bits in bounds");
        goto done;
    }
    index.table = *table;
    handle = PyMem_Calloc(1, sizeof *handle);
    if (!handle || make_index(&index, buckets, n, oov_hashes, n_oov)) {
        free_index(&index);
        PyErr_NoMemory();
        goto done;
    }
    handle->index = index;
    if ((capsule = PyCapsule_New(handle, WORDS, close_words))) {
        handle->letters = Py_NewRef(letters);
        handle = NULL;
    } else {
        free_index(&index);
    }
done:
    PyMem_Free(handle);
    release(b, 2);
    return capsule;
}

typedef struct {
    int32_t *ids;
    int64_t n, room;
} growing_ids;

/* Add the ids of the OOV table of a text, and count them and the tokens that have any. Returns 0, or what
   predict would. */
static int add_oov_ids(const word_index *index, text_bytes text, normal_form *form, feature_reader *reader,
                       growing_ids *ids, int64_t counts[2])
{
    int32_t rows[MAX_FEATURES_READ];
    int64_t n_words;
    int more = 1;
    size_t size = (size_t)text.size;
    if (normalise_text(&index->table.unicode, &text.utf8, &size, form) < 0)
        return OUT_OF_MEMORY;
    begin_features(reader, text.utf8, size);
    while (more) {
        if (read_features(index, reader, rows, &n_words, &more) < 0)
            return NOT_UTF8;
        for (int i = 0; i < reader->n_missing; i++) {
            if (ids->n + MAX_OOV_ENTRIES > ids->room) {
                int64_t room = 2 * ids->room + MAX_OOV_ENTRIES;
                int32_t *grown = realloc(ids->ids, (size_t)room * sizeof *grown);
                if (!grown)
                    return OUT_OF_MEMORY;
                ids->ids = grown;
                ids->room = room;
            }
            int n = oov_entries(index, reader->missing[i], reader->spelled[i], ids->ids + ids->n);
            for (int k = 0; k < n; k++)
                ids->ids[ids->n + k] += (int32_t)index->n_rows;
            ids->n += n;
            counts[0] += n;
            counts[1] += n > 0;
        }
    }
    return 0;
}

METHOD(oov_ids)
{
    PyObject *capsule, *list, *result = NULL;
    if (!PyArg_ParseTuple(args, "OO!", &capsule, &PyList_Type, &list))
        return NULL;
    feature_handle *handle = PyCapsule_GetPointer(capsule, WORDS);
    Py_ssize_t n_texts = PyList_Size(list);
    text_bytes *texts = PyMem_Calloc((size_t)n_texts + 1, sizeof *texts);
    int64_t *counts = PyMem_Calloc((size_t)n_texts + 1, 2 * sizeof *counts);
    feature_reader *reader = PyMem_Malloc(sizeof *reader);
    growing_ids ids = {0};
    normal_form form = {0};
    int outcome = texts && counts && reader ? 0 : OUT_OF_MEMORY;
    if (!handle)
        goto done;
    for (Py_ssize_t i = 0; i < n_texts && !outcome; i++)
        if (!borrow(list, i, &texts[i]))
            goto done;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n_texts && !outcome; i++)
        outcome = add_oov_ids(&handle->index, texts[i], &form, reader, &ids, counts + 2 * i);
    Py_END_ALLOW_THREADS
    if (outcome == NOT_UTF8)
        refuse("a string could not be decoded");
    else if (outcome)
        PyErr_NoMemory();
    else
        result = Py_BuildValue("y#y#", ids.ids ? (const char *)ids.ids : "", (Py_ssize_t)(ids.n * 4), (const char *)counts,
                               n_texts * 16);
done:
    release_texts(texts, n_texts);
    PyMem_Free(texts);
    PyMem_Free(counts);
    PyMem_Free(reader);
    free_normal_form(&form);
    free(ids.ids);
    return result;
}

typedef struct {
    compiled_network network;
    Py_buffer rows;
} network_handle;

static void close_network(PyObject *capsule)
{
    network_handle *handle = PyCapsule_GetPointer(capsule, NETWORK);
    free_network(&handle->network);
    release(&handle->rows, 1);
    PyMem_Free(handle);
}

METHOD(open_network)
{
    network_shape shape;
    Py_buffer b[2] = {{0}};
    network_handle *handle = NULL;
    PyObject *capsule = NULL;
    if (!PyArg_ParseTuple(args, "(" SHAPE ")y*y*", SHAPE_OF(shape), &b[0], &b[1]))
        return NULL;
    if (!is_shape(shape) || !has_size(&b[0], shape.n_rows * row_width(shape), 4, "rows") ||
        !has_size(&b[1], layout_of(shape).size, 4, "dense"))
        goto done;
    if (!(handle = PyMem_Calloc(1, sizeof *handle)) ||
        compile_network(&handle->network, shape, b[0].buf, b[1].buf)) {
        PyErr_NoMemory();
        goto done;
    }
    if ((capsule = PyCapsule_New(handle, NETWORK, close_network))) { /* it keeps the rows */
        handle->rows = b[0];
        b[0].obj = NULL;
        handle = NULL;
    }
done:
    if (handle)
        free_network(&handle->network);
    PyMem_Free(handle);
    release(b, 2);
    return capsule;
}

/* ---- prediction ---- */

enum { LOGITS, PROBABILITIES, WAVES }; /* of a text, in inference/compiled.py, too */

/* Run without the interpreter lock; returns 0 with an exception set if it failed. */
static int run_prediction(prediction *job, int n_threads)
{
    int outcome;
    Py_BEGIN_ALLOW_THREADS
    outcome = predict(job, n_threads);
    Py_END_ALLOW_THREADS
    if (outcome == OUT_OF_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NOT_UTF8)
        refuse("a string could not be decoded");
    return outcome == PREDICTED;
}

/* The texts of one call: a list of strings, or a buffer of UTF-8 in which text i begins at offsets[i]. */
typedef struct {
    int64_t n;
    PyObject *list; /* or NULL */
    const char *utf8;
    const int64_t *offsets;
} text_source;

/* Predict all texts, some at a time, so that signals are seen and few encoded copies are held. */
static PyObject *predict_all(PyObject *const capsules[2], text_source source, const Py_buffer *out,
                             const Py_buffer *known, int output, int n_threads)
{
    feature_handle *features = PyCapsule_GetPointer(capsules[0], WORDS);
    network_handle *handle = features ? PyCapsule_GetPointer(capsules[1], NETWORK) : NULL;
    if (!handle)
        return NULL;
    if (features->index.n_rows != handle->network.shape.n_rows ||
        features->index.oov.n != handle->network.shape.n_oov)
        return refuse(INCONSISTENT);
    prediction job = {.network = &handle->network, .words = &features->index,
                      .as_probabilities = output == PROBABILITIES, .as_waves = output == WAVES};
    int64_t c = numbers_of_text(&job), n = source.n < TEXTS_CHUNK ? source.n : TEXTS_CHUNK, ok = 1;
    if (!has_size(out, source.n * c, 4, "out") || !has_size(known, source.n, 1, "known"))
        return NULL;
    text_bytes *texts = PyMem_Calloc((size_t)n + 1, sizeof *texts);
    if (!texts)
        return PyErr_NoMemory();
    for (int64_t first = 0; first < source.n && ok; first += n) {
        n = source.n - first < n ? source.n - first : n;
        for (int64_t i = 0; i < n && ok; i++) {
            int64_t t = first + i;
            if (source.list)
                ok = borrow(source.list, (Py_ssize_t)t, &texts[i]);
            else
                texts[i] = (text_bytes){source.utf8 + source.offsets[t],
                                        source.offsets[t + 1] - source.offsets[t], NULL};
        }
        job.texts = texts;
        job.n_texts = n;
        job.out = (float *)out->buf + first * c;
        job.known = (uint8_t *)known->buf + first;
        ok = ok && run_prediction(&job, n_threads) && !PyErr_CheckSignals();
        release_texts(texts, (Py_ssize_t)n);
    }
    PyMem_Free(texts);
    return ok ? Py_NewRef(Py_None) : NULL;
}

METHOD(predict_texts)
{
    PyObject *capsules[2], *list;
    Py_buffer b[2] = {{0}};
    int output, n_threads;
    if (!PyArg_ParseTuple(args, "OOO!w*w*ii", &capsules[0], &capsules[1], &PyList_Type, &list, &b[0], &b[1],
                          &output, &n_threads))
        return NULL;
    text_source source = {.n = PyList_Size(list), .list = list};
    PyObject *result = predict_all(capsules, source, &b[0], &b[1], output, n_threads);
    release(b, 2);
    return result;
}

METHOD(predict_utf8)
{
    PyObject *capsules[2], *result;
    Py_buffer b[4] = {{0}};
    int output, n_threads;
    if (!PyArg_ParseTuple(args, "OO(y*y*)w*w*ii", &capsules[0], &capsules[1], &b[0], &b[1], &b[2], &b[3],
                          &output, &n_threads))
        return NULL;
    text_source source = {.n = b[1].len / 8 - 1, .utf8 = b[0].buf, .offsets = b[1].buf};
    int legal = source.n >= 0 && b[1].len % 8 == 0 && source.offsets[0] >= 0 &&
                source.offsets[source.n] <= b[0].len;
    for (int64_t i = 0; i < source.n && legal; i++)
        legal = source.offsets[i] <= source.offsets[i + 1];
    result = legal ? predict_all(capsules, source, &b[2], &b[3], output, n_threads)
                   : refuse(INCONSISTENT);
    release(b, 4);
    return result;
}

METHOD(predict_rows)
{
    PyObject *capsule, *result = NULL;
    Py_buffer b[5] = {{0}};
    int output, n_threads;
    if (!PyArg_ParseTuple(args, "O(y*y*y*y*)w*ii", &capsule, &b[0], &b[1], &b[2], &b[3], &b[4],
                          &output, &n_threads))
        return NULL;
    ragged_texts rows;
    network_handle *handle = PyCapsule_GetPointer(capsule, NETWORK);
    prediction job = {.as_probabilities = output == PROBABILITIES, .as_waves = output == WAVES};
    if (handle)
        job.network = &handle->network;
    if (!handle || !are_texts(b, handle->network.shape.n_rows, handle->network.shape.n_oov, &rows) ||
        !has_size(&b[4], rows.n_texts * numbers_of_text(&job), 4, "out"))
        goto done;
    if (b[3].len) {
        if (!has_size(&b[3], rows.n_texts, 8, "n_oov_tokens"))
            goto done;
        rows.n_oov_tokens = b[3].buf;
        for (int64_t t = 0; t < rows.n_texts; t++)
            if (rows.n_oov_tokens[t] < 0) {
                refuse(INCONSISTENT);
                goto done;
            }
    }
    job.rows = rows;
    job.n_texts = rows.n_texts;
    job.out = b[4].buf;
    if (run_prediction(&job, n_threads))
        result = Py_NewRef(Py_None);
done:
    release(b, 5);
    return result;
}

/* ---- explanation ---- */

typedef struct {
    PyObject *should_stop; /* or None */
    PyThreadState *thread; /* while the lock of the interpreter is released */
    int failed;            /* with an exception set */
} python_signal;

/* Ask Python whether to stop. */
static int ask_python(void *argument)
{
    python_signal *signal = argument;
    PyEval_RestoreThread(signal->thread);
    int stops = 0;
    if (!(signal->failed = PyErr_CheckSignals() != 0) && signal->should_stop != Py_None) {
        PyObject *answer = PyObject_CallNoArgs(signal->should_stop);
        stops = answer ? PyObject_IsTrue(answer) : -1;
        signal->failed = stops < 0;
        Py_XDECREF(answer);
    }
    stops = stops || signal->failed;
    signal->thread = PyEval_SaveThread();
    return stops;
}

METHOD(explain_text)
{
    PyObject *capsules[2], *text, *list = NULL, *result = NULL;
    Py_buffer b = {0};
    python_signal signal = {0};
    int has_ends;
    if (!PyArg_ParseTuple(args, "OOOy*pO", &capsules[0], &capsules[1], &text, &b, &has_ends,
                          &signal.should_stop))
        return NULL;
    explanation e = {.should_stop = ask_python, .argument = &signal};
    feature_handle *features = PyCapsule_GetPointer(capsules[0], WORDS);
    network_handle *handle = features ? PyCapsule_GetPointer(capsules[1], NETWORK) : NULL;
    if (!handle || !(list = Py_BuildValue("[O]", text)) || !borrow(list, 0, &e.text))
        goto done;
    network_shape shape = handle->network.shape;
    if (features->index.n_rows != shape.n_rows || features->index.oov.n != shape.n_oov ||
        (shape.reads_cls && !features->index.cls)) {
        refuse(INCONSISTENT);
        goto done;
    }
    e.network = &handle->network;
    e.words = &features->index;
    e.ends = has_ends ? b.buf : NULL;
    e.n_ends = has_ends ? b.len / 8 : 0;
    signal.thread = PyEval_SaveThread();
    int outcome = explain(&e);
    PyEval_RestoreThread(signal.thread);
    if (signal.failed)
        goto done;
    if (outcome == OUT_OF_MEMORY)
        PyErr_NoMemory();
    else if (outcome == NOT_UTF8)
        refuse("a string could not be decoded");
    else
        result = Py_BuildValue("y#y#y#y#OO", (char *)e.spans, (Py_ssize_t)(e.n_done * 16), (char *)e.energy,
                               (Py_ssize_t)(e.n_done * 8), (char *)e.known, (Py_ssize_t)e.n_done,
                               (char *)e.logits, (Py_ssize_t)((1 + e.n_done) * shape.n_classes * 4),
                               e.n_done == e.n_parts ? Py_True : Py_False, e.is_known ? Py_True : Py_False);
done:
    free_explanation(&e);
    release_texts(&e.text, 1);
    Py_XDECREF(list);
    release(&b, 1);
    return result;
}
