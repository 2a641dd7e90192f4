/* The module token2wave.core._core: its methods, and what they check their arguments with. */
#include "arguments.h"

int has_size(const Py_buffer *buffer, int64_t count, size_t item, const char *name)
{
    if (count >= 0 && buffer->len == (Py_ssize_t)(count * (int64_t)item))
        return 1;
    PyErr_Format(PyExc_ValueError, WRONG_SIZE, name);
    return 0;
}

void release(Py_buffer *buffers, int count)
{
    for (int i = 0; i < count; i++)
        if (buffers[i].obj)
            PyBuffer_Release(&buffers[i]);
}

static PyObject *str_isascii; /* of str itself: a subclass may have its own */

int borrow(PyObject *list, Py_ssize_t i, borrowed_text *out)
{
    PyObject *text = PyList_GetItem(list, i), *ascii;
    if (!text || !PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "expected a string at texts[%zd]", i);
        return 0;
    }
    out->owner = Py_NewRef(text); /* before anything else can run */
    if (!(ascii = PyObject_CallFunctionObjArgs(str_isascii, text, NULL)))
        return 0;
    int is_ascii = ascii == Py_True;
    Py_ssize_t size;
    Py_DECREF(ascii);
    if (is_ascii) {
        out->text.utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    } else {
        char *bytes = 0;
        out->owner = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
        Py_DECREF(text);
        if (!out->owner || PyBytes_AsStringAndSize(out->owner, &bytes, &size))
            return 0;
        out->text.utf8 = bytes;
    }
    out->text.size = size;
    return out->text.utf8 != NULL;
}

int is_shape(network_shape shape)
{
    int64_t most = 1 << 30; /* so that no size overflows */
    if (shape.n_rows > 0 && shape.n_rows < most && shape.n_classes > 0 && shape.n_classes < most &&
        shape.width > 0 && shape.width <= 1 << 16 && shape.width % 8 == 0 && shape.context_width >= 0 &&
        shape.context_width <= 1 << 16 && shape.context_width % 8 == 0 && shape.radius > 0 && shape.radius <= 1024 &&
        shape.restore >= RESTORE_LINEAR && shape.restore <= RESTORE_MAGNITUDE &&
        (shape.modulates == 0 || shape.modulates == 1) && (shape.reads_cls == 0 || shape.reads_cls == 1) &&
        !(shape.linear_variants && shape.has_linear_svm))
        return 1;
    PyErr_SetString(PyExc_ValueError, "expected sizes within bounds, widths that are multiples of eight, and a known operation and read-out");
    return 0;
}

int are_texts(const Py_buffer *ids, const Py_buffer *offsets, const Py_buffer *n_ordered, ragged_texts *out)
{
    *out = (ragged_texts){n_ordered->len / 8, ids->buf, offsets->buf, n_ordered->buf};
    return has_size(offsets, out->n_texts + 1, 8, "offsets") &&
           has_size(ids, out->offsets[out->n_texts], 4, "ids");
}

int is_text(const ragged_texts *texts, int64_t text, int64_t n_ids, int64_t n_rows)
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

static PyMethodDef methods[] = {
    {"token_hashes", token_hashes, METH_VARARGS, token_hashes_doc},
    {"token_buckets", token_buckets, METH_VARARGS, token_buckets_doc},
    {"count", count, METH_VARARGS, count_doc},
    {"select_rows", select_rows, METH_VARARGS, select_rows_doc},
    {"document_frequency", document_frequency, METH_VARARGS, document_frequency_doc},
    {"train", train, METH_VARARGS, train_doc},
    {"fit_linear_svm", fit_linear_svm, METH_VARARGS, fit_linear_svm_doc},
    {"open_words", open_words, METH_VARARGS, open_words_doc},
    {"open_tables", open_tables, METH_VARARGS, open_tables_doc},
    {"predict_texts", predict_texts, METH_VARARGS, predict_texts_doc},
    {"predict_utf8", predict_utf8, METH_VARARGS, predict_utf8_doc},
    {"predict_rows", predict_rows, METH_VARARGS, predict_rows_doc},
    {NULL, NULL, 0, NULL},
};

static int begin(PyObject *module)
{
    (void)module;
    if (!str_isascii) /* it is the same in every interpreter */
        str_isascii = PyObject_GetAttrString((PyObject *)&PyUnicode_Type, "isascii");
    return str_isascii ? 0 : -1;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, begin}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "token2wave.core._core", "Hot paths in C.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
