/* Methods on texts and features. */
#include "arguments.h"
#include "dense.h"

METHOD(token_hashes)
{
    PyObject *list, *result = NULL;
    Py_buffer buffers[2] = {{0}};
    if (!PyArg_ParseTuple(args, "O!y*y*", &PyList_Type, &list, &buffers[0], &buffers[1]))
        return NULL;
    Py_ssize_t n_texts = PyList_Size(list), total = 0;
    uint64_t *hashes = NULL;
    int64_t *n_tokens = PyMem_Malloc(((size_t)n_texts + 1) * sizeof *n_tokens);
    text_bytes *texts = PyMem_Calloc((size_t)n_texts + 1, sizeof *texts);
    if (!texts || !n_tokens) {
        PyErr_NoMemory();
        goto done;
    }
    if (!has_size(&buffers[0], N_CODE_POINTS, 1, "classes") ||
        !has_size(&buffers[1], N_CODE_POINTS, 4, "lower"))
        goto done;
    for (Py_ssize_t i = 0; i < n_texts; i++) {
        if (!borrow(list, i, &texts[i]))
            goto done;
        total += texts[i].size + 2; /* at most as many tokens as bytes; a reader needs room for two more */
    }
    hashes = PyMem_Malloc((size_t)(total + 1) * sizeof *hashes);
    if (!hashes) {
        PyErr_NoMemory();
        goto done;
    }
    letter_table table = letters(buffers[0].buf, buffers[1].buf);
    int64_t written = 0;
    int is_utf8 = 1;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < n_texts && is_utf8; i++) {
        text_reader reader = read_text(texts[i].utf8, (size_t)texts[i].size);
        n_tokens[i] = read_tokens(&reader, &table, hashes + written, texts[i].size + 2);
        is_utf8 = n_tokens[i] >= 0;
        written += is_utf8 ? n_tokens[i] : 0;
    }
    Py_END_ALLOW_THREADS
    result = is_utf8 ? Py_BuildValue("y#y#", (const char *)hashes, (Py_ssize_t)(written * 8),
                                     (const char *)n_tokens, (Py_ssize_t)(n_texts * 8))
                     : refuse("a string could not be decoded");
done:
    release_texts(texts, n_texts);
    PyMem_Free(texts);
    PyMem_Free(n_tokens);
    PyMem_Free(hashes);
    release(buffers, 2);
    return result;
}

METHOD(token_buckets)
{
    Py_buffer buffers[2] = {{0}};
    PyObject *result = NULL;
    int ngrams, bits;
    if (!PyArg_ParseTuple(args, "y*y*ii", &buffers[0], &buffers[1], &ngrams, &bits))
        return NULL;
    const uint64_t *hashes = buffers[0].buf;
    const int64_t *n_tokens = buffers[1].buf;
    int64_t total = buffers[0].len / 8, n_texts = buffers[1].len / 8, longest = 0, at = 0, written = 0;
    uint64_t *grams = NULL;
    if (ngrams < 1 || bits < 1 || bits > 32) {
        refuse("expected ngrams >= 1 and bits from 1 to 32");
        goto done;
    }
    for (int64_t i = 0; i < n_texts; i++) {
        if (n_tokens[i] < 0 || n_tokens[i] > total - at) {
            PyErr_Format(PyExc_ValueError, WRONG_SIZE, "n_tokens");
            goto done;
        }
        at += n_tokens[i];
        longest = n_tokens[i] > longest ? n_tokens[i] : longest;
        for (int n = 1; n <= ngrams && n <= n_tokens[i]; n++)
            written += n_tokens[i] - n + 1;
    }
    grams = PyMem_Malloc((size_t)(longest + 1) * sizeof *grams);
    result = grams ? PyBytes_FromStringAndSize(NULL, (Py_ssize_t)(written * 4)) : PyErr_NoMemory();
    if (!result)
        goto done;
    uint32_t *out = (uint32_t *)PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t i = 0; i < n_texts; i++) {
        out += ngram_buckets(hashes, 0, grams, n_tokens[i], ngrams, bits, out);
        hashes += n_tokens[i];
    }
    Py_END_ALLOW_THREADS
done:
    PyMem_Free(grams);
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
    Py_buffer buffers[3] = {{0}};
    int ngrams, cls;
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
    Py_ssize_t size = (Py_ssize_t)(n_texts * 8);
    result = fits ? Py_BuildValue("y#y#y#", (const char *)ids, (Py_ssize_t)(out * 4), (const char *)lengths,
                                  size, (const char *)(lengths + n_texts), size)
                  : PyErr_Format(PyExc_ValueError, WRONG_SIZE, "n_words");
done:
    PyMem_Free(ids);
    PyMem_Free(lengths);
    release(buffers, 3);
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
