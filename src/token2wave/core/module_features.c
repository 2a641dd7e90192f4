/* Methods on texts and features. */
#include "arguments.h"
#include "dense.h"

#include <stdlib.h>

#define LETTERS_CAPSULE "token2wave letters"

typedef struct {
    letter_table table;
    Py_buffer arrays[9];
} letters_handle;

static void close_letters(PyObject *capsule)
{
    letters_handle *handle = PyCapsule_GetPointer(capsule, LETTERS_CAPSULE);
    release(handle->arrays, 9);
    PyMem_Free(handle);
}

const letter_table *letters_in(PyObject *capsule)
{
    letters_handle *handle = PyCapsule_GetPointer(capsule, LETTERS_CAPSULE);
    return handle ? &handle->table : NULL;
}

/* Whether numbers are below a bound. */
static int are_below(const uint32_t *numbers, int64_t n, uint32_t bound)
{
    for (int64_t i = 0; i < n; i++)
        if (numbers[i] >= bound)
            return 0;
    return 1;
}

METHOD(open_letters)
{
    letters_handle *handle = PyMem_Calloc(1, sizeof *handle);
    PyObject *capsule = NULL;
    if (!handle)
        return PyErr_NoMemory();
    Py_buffer *b = handle->arrays;
    if (!PyArg_ParseTuple(args, "y*y*y*y*y*y*y*y*y*", &b[0], &b[1], &b[2], &b[3], &b[4], &b[5], &b[6], &b[7],
                          &b[8]))
        goto done;
    int64_t n_expanded = b[4].len / 4, n_letters = b[6].len / 4, n_pairs = b[8].len / 4;
    if (!has_size(&b[0], N_CODE_POINTS, 1, "classes") || !has_size(&b[1], N_CODE_POINTS, 4, "folded") ||
        !has_size(&b[2], N_CODE_POINTS, 1, "marks") || !has_size(&b[3], N_CODE_POINTS, 1, "combining") ||
        !has_size(&b[5], n_expanded + 1, 8, "expansion_offsets") ||
        !has_size(&b[7], n_pairs, 8, "composition_pairs"))
        goto done;
    unicode_table t = {b[0].buf, b[2].buf, b[3].buf, b[1].buf, b[4].buf, b[5].buf, b[6].buf, b[7].buf,
                       b[8].buf, n_expanded, n_pairs};
    int legal = are_below(t.folded, N_ASCII, N_ASCII) && are_below(t.folded, N_CODE_POINTS, N_CODE_POINTS) &&
                are_below(t.expansion_letters, n_letters, N_CODE_POINTS) &&
                are_below(t.composites, n_pairs, N_CODE_POINTS) && t.expansion_offsets[0] >= 0 &&
                t.expansion_offsets[n_expanded] <= n_letters;
    for (int64_t i = 0; legal && i < n_expanded; i++)
        legal = t.expansion_offsets[i] <= t.expansion_offsets[i + 1];
    if (!legal) {
        refuse("expected code points below 0x110000, and increasing offsets");
        goto done;
    }
    handle->table = letters(t);
    if ((capsule = PyCapsule_New(handle, LETTERS_CAPSULE, close_letters)))
        return capsule;
done:
    release(b, 9);
    PyMem_Free(handle);
    return NULL;
}

/* Hash the tokens of a text at the end of `hashes`, which grows. Returns 0, or what predict would. */
static int add_tokens(const letter_table *table, text_bytes text, normal_form *form, uint64_t **hashes,
                      int64_t *n, int64_t *room, int64_t *n_tokens)
{
    size_t size = (size_t)text.size;
    if (normalise_text(&table->unicode, &text.utf8, &size, form) < 0)
        return OUT_OF_MEMORY;
    int64_t most = *n + (int64_t)size + 2; /* as many tokens as bytes; a reader needs room for two more */
    if (most > *room) {
        uint64_t *grown = realloc(*hashes, (size_t)(2 * most) * sizeof *grown);
        if (!grown)
            return OUT_OF_MEMORY;
        *hashes = grown;
        *room = 2 * most;
    }
    text_reader reader = read_text(text.utf8, size);
    *n_tokens = read_tokens(&reader, table, *hashes + *n, (int64_t)size + 2);
    if (*n_tokens < 0)
        return NOT_UTF8;
    *n += *n_tokens;
    return PREDICTED;
}

METHOD(token_hashes)
{
    PyObject *list, *capsule, *result = NULL;
    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &list, &capsule))
        return NULL;
    const letter_table *table = letters_in(capsule);
    Py_ssize_t n_texts = PyList_Size(list);
    int64_t *n_tokens = PyMem_Malloc(((size_t)n_texts + 1) * sizeof *n_tokens);
    text_bytes *texts = PyMem_Calloc((size_t)n_texts + 1, sizeof *texts);
    uint64_t *hashes = NULL;
    normal_form form = {0};
    int64_t n = 0, room = 0, size = 0;
    int outcome = texts && n_tokens ? PREDICTED : OUT_OF_MEMORY;
    for (Py_ssize_t i = 0; table && i < n_texts && !outcome; i++) {
        if (!borrow(list, i, &texts[i]))
            goto done;
        size += texts[i].size + 2;
    }
    if (!table)
        goto done;
    if (!outcome && !(hashes = malloc((size_t)(size + 1) * sizeof *hashes)))
        outcome = OUT_OF_MEMORY;
    room = size;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n_texts && !outcome; i++)
        outcome = add_tokens(table, texts[i], &form, &hashes, &n, &room, &n_tokens[i]);
    Py_END_ALLOW_THREADS
    if (outcome == OUT_OF_MEMORY)
        PyErr_NoMemory();
    else
        result = outcome ? refuse("a string could not be decoded")
                         : Py_BuildValue("y#y#", (const char *)hashes, (Py_ssize_t)(n * 8),
                                         (const char *)n_tokens, (Py_ssize_t)(n_texts * 8));
done:
    release_texts(texts, n_texts);
    PyMem_Free(texts);
    PyMem_Free(n_tokens);
    free_normal_form(&form);
    free(hashes);
    return result;
}

METHOD(token_buckets)
{
    Py_buffer buffers[2] = {{0}};
    PyObject *result = NULL;
    int ngrams, unspaced_ngrams, bits;
    if (!PyArg_ParseTuple(args, "y*y*iii", &buffers[0], &buffers[1], &ngrams, &unspaced_ngrams, &bits))
        return NULL;
    const uint64_t *hashes = buffers[0].buf;
    const int64_t *n_tokens = buffers[1].buf;
    int64_t total = buffers[0].len / 8, n_texts = buffers[1].len / 8, longest = 0, at = 0, n = 0;
    uint64_t *grams = NULL;
    uint32_t *out = NULL;
    int64_t *n_features = PyMem_Malloc((size_t)(n_texts + 1) * sizeof *n_features);
    if (ngrams < 1 || ngrams > MAX_NGRAMS || unspaced_ngrams < 1 || unspaced_ngrams > MAX_NGRAMS || bits < 1 ||
        bits > 32) {
        refuse("expected ngrams from 1 to 5 and bits from 1 to 32");
        goto done;
    }
    int64_t room = 0;
    for (int64_t i = 0; i < n_texts; i++) {
        if (n_tokens[i] < 0 || n_tokens[i] > total - at) {
            PyErr_Format(PyExc_ValueError, WRONG_SIZE, "n_tokens");
            goto done;
        }
        int64_t has_letters = 0;
        for (int64_t k = at; k < at + n_tokens[i] && !has_letters; k++)
            has_letters = hashes[k] & 1;
        room += n_tokens[i] * (has_letters && unspaced_ngrams > ngrams ? unspaced_ngrams : ngrams);
        at += n_tokens[i];
        longest = n_tokens[i] > longest ? n_tokens[i] : longest;
    }
    grams = PyMem_Malloc((size_t)(longest + 1) * sizeof *grams);
    out = PyMem_Malloc((size_t)(room + 1) * sizeof *out);
    if (!grams || !out || !n_features) {
        PyErr_NoMemory();
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < n_texts; i++) {
        n_features[i] = ngram_buckets(hashes, 0, grams, n_tokens[i], ngrams, unspaced_ngrams, bits, out + n);
        n += n_features[i];
        hashes += n_tokens[i];
    }
    Py_END_ALLOW_THREADS
    result = Py_BuildValue("y#y#", (const char *)out, (Py_ssize_t)(n * 4), (const char *)n_features,
                           (Py_ssize_t)(n_texts * 8));
done:
    PyMem_Free(grams);
    PyMem_Free(out);
    PyMem_Free(n_features);
    release(buffers, 2);
    return result;
}

METHOD(count)
{
    Py_buffer buffers[2] = {{0}};
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
    return in_range ? Py_NewRef(Py_None) : PyErr_Format(PyExc_ValueError, WRONG_SIZE, "counts");
}

METHOD(select_rows)
{
    Py_buffer buffers[4] = {{0}};
    int cls;
    if (!PyArg_ParseTuple(args, "y*y*y*y*p", &buffers[0], &buffers[1], &buffers[2], &buffers[3], &cls))
        return NULL;
    const uint32_t *buckets = buffers[0].buf;
    const int64_t *n_words = buffers[1].buf, *n_features = buffers[2].buf;
    const int32_t *rows = buffers[3].buf;
    int64_t n_buckets = buffers[0].len / 4, n_texts = buffers[1].len / 8, n_rows = buffers[3].len / 4;
    int32_t *ids = PyMem_Malloc((size_t)(n_buckets + n_texts + 1) * sizeof *ids);
    int64_t *lengths = PyMem_Malloc((size_t)(2 * n_texts + 1) * sizeof *lengths), at = 0, out = 0;
    PyObject *result = NULL;
    if (!ids || !lengths) {
        PyErr_NoMemory();
        goto done;
    }
    if (!has_size(&buffers[2], n_texts, 8, "n_features"))
        goto done;
    int fits = 1;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts && fits; t++) {
        int64_t start = out, first = at;
        fits = n_words[t] >= 0 && n_words[t] <= n_features[t] && n_features[t] <= n_buckets - at;
        if (cls)
            ids[out++] = 0;
        lengths[n_texts + t] = out - start;
        for (; fits && at < first + n_features[t]; at++) {
            int32_t row = buckets[at] < n_rows ? rows[buckets[at]] : -1;
            ids[out] = row;
            out += row >= 0;
            if (at < first + n_words[t])
                lengths[n_texts + t] = out - start;
        }
        lengths[t] = out - start;
    }
    Py_END_ALLOW_THREADS
    Py_ssize_t size = (Py_ssize_t)(n_texts * 8);
    result = fits ? Py_BuildValue("y#y#y#", (const char *)ids, (Py_ssize_t)(out * 4), (const char *)lengths,
                                  size, (const char *)(lengths + n_texts), size)
                  : PyErr_Format(PyExc_ValueError, WRONG_SIZE, "n_words");
done:
    PyMem_Free(ids);
    PyMem_Free(lengths);
    release(buffers, 4);
    return result;
}

METHOD(document_frequency)
{
    Py_buffer b[5] = {{0}};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*y*w*w*", &b[0], &b[1], &b[2], &b[3], &b[4]))
        return NULL;
    const int32_t *ids = b[0].buf;
    const int64_t *offsets = b[1].buf, *classes = b[2].len ? b[2].buf : NULL;
    int64_t *frequency = b[3].buf, *last = b[4].buf;
    int64_t n_ids = b[0].len / 4, n_texts = b[1].len / 8 - 1, n_rows = b[4].len / 8, legal = 1;
    int64_t n_classes = n_rows ? b[3].len / 8 / n_rows : 1;
    if (!has_size(&b[3], n_rows * n_classes, 8, "frequency") ||
        (classes && !has_size(&b[2], n_texts, 8, "classes")))
        goto done;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts; t++)
        for (int64_t i = offsets[t]; i < offsets[t + 1]; i++) {
            int64_t class = classes ? classes[t] : 0;
            if (i < 0 || i >= n_ids || ids[i] < 0 || ids[i] >= n_rows || class < 0 || class >= n_classes) {
                legal = 0;
                break;
            }
            frequency[ids[i] * n_classes + class] += last[ids[i]] != t;
            last[ids[i]] = t;
        }
    Py_END_ALLOW_THREADS
    result = legal ? Py_NewRef(Py_None) : refuse(INCONSISTENT);
done:
    release(b, 5);
    return result;
}

/* Add the rows of a text's ids, except those below 0, in double precision. */
HOT static void add_rows_of(const float *table, int64_t width, const int32_t *ids, int64_t n, double *sum)
{
    for (int64_t i = 0; i < n; i++) {
        const float *row = table + ids[i] * width;
        for (int64_t k = 0; ids[i] >= 0 && k < width; k++)
            sum[k] += row[k];
    }
}

METHOD(sum_rows)
{
    Py_buffer b[4] = {{0}};
    PyObject *result = NULL;
    int64_t width;
    if (!PyArg_ParseTuple(args, "y*y*y*Lw*", &b[0], &b[1], &b[2], &width, &b[3]))
        return NULL;
    const int32_t *ids = b[0].buf;
    const int64_t *offsets = b[1].buf;
    double *sums = b[3].buf;
    int64_t n_ids = b[0].len / 4, n_texts = b[1].len / 8 - 1, legal = n_texts >= 0 && width >= 0;
    int64_t n_rows = width > 0 ? b[2].len / 4 / width : 0;
    if (!legal || !has_size(&b[3], n_texts * width, 8, "sums")) {
        result = PyErr_Occurred() ? NULL : refuse(INCONSISTENT);
        goto done;
    }
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts && legal; t++) {
        int64_t first = offsets[t], end = offsets[t + 1];
        legal = first >= 0 && first <= end && end <= n_ids;
        for (int64_t i = first; legal && i < end; i++)
            legal = ids[i] < n_rows;
        if (legal)
            add_rows_of(b[2].buf, width, ids + first, end - first, sums + t * width);
    }
    Py_END_ALLOW_THREADS
    result = legal ? Py_NewRef(Py_None) : refuse(INCONSISTENT);
done:
    release(b, 4);
    return result;
}

#define MAX_MINIMA 64

METHOD(fingerprint)
{
    Py_buffer b[4] = {{0}};
    PyObject *result = NULL;
    if (!PyArg_ParseTuple(args, "y*y*w*w*", &b[0], &b[1], &b[2], &b[3]))
        return NULL;
    const uint64_t *words = b[0].buf;
    const int64_t *offsets = b[1].buf;
    uint64_t *keys = b[2].buf, *minima = b[3].buf, factors[MAX_MINIMA];
    int64_t n_words = b[0].len / 8, n_texts = b[1].len / 8 - 1, legal = 1;
    int64_t n_minima = n_texts > 0 ? b[3].len / 8 / n_texts : 0;
    if (n_minima > MAX_MINIMA || !has_size(&b[2], n_texts, 8, "keys") ||
        !has_size(&b[3], n_texts * n_minima, 8, "minima")) {
        result = PyErr_Occurred() ? NULL : refuse(INCONSISTENT);
        goto done;
    }
    for (int k = 0; k < n_minima; k++)
        factors[k] = mix((uint64_t)k + 1) | 1;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t t = 0; t < n_texts; t++) {
        int64_t first = offsets[t], end = offsets[t + 1];
        if (first < 0 || first > end || end > n_words) {
            legal = 0;
            break;
        }
        uint64_t key = 0, *own = minima + t * n_minima;
        for (int k = 0; k < n_minima; k++)
            own[k] = UINT64_MAX;
        for (int64_t i = first; i < end; i++) {
            key += mix(words[i] ^ mix((uint64_t)(i - first)));
            uint64_t pair = mix(words[i] + 3 * (i + 1 < end ? words[i + 1] : 0));
            for (int k = 0; k < n_minima; k++) {
                uint64_t permuted = pair * factors[k];
                own[k] = permuted < own[k] ? permuted : own[k];
            }
        }
        keys[t] = key;
    }
    Py_END_ALLOW_THREADS
    result = legal ? Py_NewRef(Py_None) : refuse(INCONSISTENT);
done:
    release(b, 4);
    return result;
}
