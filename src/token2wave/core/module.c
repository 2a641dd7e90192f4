/* The module token2wave.core._core, and the checks that its methods share. */
#include "arguments.h"
#include "extensions.h"

void *refuse(const char *message)
{
    PyErr_SetString(PyExc_ValueError, message);
    return NULL;
}

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

int borrow(PyObject *texts, Py_ssize_t i, text_bytes *out)
{
    PyObject *text = PyList_GetItem(texts, i), *ascii;
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
        out->utf8 = PyUnicode_AsUTF8AndSize(text, &size);
    } else {
        char *bytes = 0;
        out->owner = PyUnicode_AsEncodedString(text, "utf-8", "surrogatepass");
        Py_DECREF(text);
        if (!out->owner || PyBytes_AsStringAndSize(out->owner, &bytes, &size))
            return 0;
        out->utf8 = bytes;
    }
    out->size = size;
    return out->utf8 != NULL;
}

void release_texts(text_bytes *texts, Py_ssize_t n)
{
    for (Py_ssize_t i = 0; texts && i < n; i++) {
        Py_XDECREF(texts[i].owner);
        texts[i].owner = NULL;
    }
}

int is_shape(network_shape shape)
{
    int64_t most = 1 << 30; /* so that no size overflows */
    if (shape.n_rows > 0 && shape.n_rows < most && shape.n_classes > 0 && shape.n_classes < most &&
        shape.width > 0 && shape.width <= 1 << 16 && shape.width % 8 == 0 && shape.context_width >= 0 &&
        shape.context_width <= 1 << 16 && shape.context_width % 8 == 0 && shape.radius > 0 &&
        shape.radius <= 1024 && shape.restore >= RESTORE_LINEAR && shape.restore <= RESTORE_MAGNITUDE &&
        (shape.modulates == 0 || shape.modulates == 1) && (shape.reads_cls == 0 || shape.reads_cls == 1) &&
        !(shape.linear_variants && shape.has_linear_svm) && shape.n_oov >= 0 && shape.n_oov < most &&
        (shape.has_linear_svm || !shape.n_oov))
        return 1;
    refuse("expected sizes within bounds, widths that are multiples of eight, and a known operation and "
           "read-out");
    return 0;
}

int are_texts(const Py_buffer *arrays, int64_t n_rows, int64_t n_oov, ragged_texts *out)
{
    *out = (ragged_texts){arrays[2].len / 8, arrays[0].buf, arrays[1].buf, arrays[2].buf, NULL};
    if (!has_size(&arrays[1], out->n_texts + 1, 8, "offsets") ||
        !has_size(&arrays[0], out->offsets[out->n_texts], 4, "ids"))
        return 0;
    int64_t n_ids = arrays[0].len / 4, legal = out->offsets[0] >= 0;
    for (int64_t t = 0; t < out->n_texts && legal; t++) {
        int64_t n = out->offsets[t + 1] - out->offsets[t];
        if (!(legal = n >= 0 && out->offsets[t + 1] <= n_ids))
            break;
        const int32_t *ids = out->ids + out->offsets[t];
        while (n && ids[n - 1] >= n_rows && ids[n - 1] < n_rows + n_oov)
            n--;
        legal = out->n_ordered[t] >= 0 && out->n_ordered[t] <= n;
        for (int64_t i = 0; i < n && legal; i++)
            legal = (uint32_t)ids[i] < (uint64_t)n_rows;
    }
    if (!legal)
        refuse(INCONSISTENT);
    return (int)legal;
}

#define DEFINE(name) {#name, name, METH_VARARGS, NULL},
static PyMethodDef methods[] = {METHODS(DEFINE){NULL, NULL, 0, NULL}};

static int initialise(PyObject *Py_UNUSED(module))
{
    if (!str_isascii) /* it is the same in every interpreter */
        str_isascii = PyObject_GetAttrString((PyObject *)&PyUnicode_Type, "isascii");
    return str_isascii ? 0 : -1;
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, FUNCTION_POINTER(initialise)}, {0, NULL}};
static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT, "token2wave.core._core", "Hot paths in C.", 0, methods, slots, NULL, NULL, NULL,
};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
