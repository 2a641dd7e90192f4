/* Arguments from Python: checked, unpacked and given back. */
#ifndef TOKEN2WAVE_ARGUMENTS_H
#define TOKEN2WAVE_ARGUMENTS_H

#define Py_LIMITED_API 0x030B0000
#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include "layout.h"
#include "predict.h"

#define WRONG_SIZE "an array has the wrong size: %s"
#define INCONSISTENT "texts, rows, labels or the order of the texts do not fit together"

/* Whether a buffer holds `count` items; else an exception is set. */
int has_size(const Py_buffer *buffer, int64_t count, size_t item, const char *name);

/* Give buffers back, those that were never taken left out. */
void release(Py_buffer *buffers, int count);

/* A string's bytes while its owner lives: the string itself, or an encoded copy where it is not ASCII. */
typedef struct {
    text_bytes text;
    PyObject *owner;
} borrowed_text;

/* Borrow the bytes of element number i of a list. Returns 0 with an exception set where it is no string. */
int borrow(PyObject *list, Py_ssize_t i, borrowed_text *out);

/* The numbers of a shape, in the order of its members, as a tuple of their own. */
#define SHAPE "LLLLLiipipp"
#define SHAPE_OF(s)                                                                                   \
    &(s).n_rows, &(s).n_classes, &(s).width, &(s).context_width, &(s).radius, &(s).modulates, &(s).reads_cls,   \
        &(s).linear_variants, &(s).restore, &(s).has_linear_svm, &(s).is_multi_label

/* Whether a shape can be computed; else an exception is set. */
int is_shape(network_shape shape);

/* Whether the arrays of ragged texts fit each other; else an exception is set. */
int are_texts(const Py_buffer *ids, const Py_buffer *offsets, const Py_buffer *n_ordered, ragged_texts *out);

/* Whether a text lies within n_ids ids, its words within the text, and every id of it is a row. */
int is_text(const ragged_texts *texts, int64_t text, int64_t n_ids, int64_t n_rows);

/* Methods of the module, and their documentation. */
#define METHOD(name) PyObject *name(PyObject *self, PyObject *args); extern const char name##_doc[];
METHOD(token_hashes)
METHOD(token_buckets)
METHOD(count)
METHOD(select_rows)
METHOD(document_frequency)
METHOD(train)
METHOD(fit_linear_svm)
METHOD(open_words)
METHOD(open_tables)
METHOD(predict_texts)
METHOD(predict_utf8)
METHOD(predict_rows)
#undef METHOD

#endif
