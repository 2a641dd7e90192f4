/* Products in fixed point. */
#include "arguments.h"
#include "fixed_point.h"

const char get_fixed_point_available_doc[] =
    "fixed_point_available() -> bool\n\nWhether this processor can compute fixed_point_product.";

PyObject *get_fixed_point_available(PyObject *self, PyObject *args)
{
    (void)self, (void)args;
    return PyBool_FromLong(fixed_point_available());
}

const char get_fixed_point_product_doc[] =
    "fixed_point_product((a, a_transposed), (b, b_transposed), out, (m, n, k), n_threads)\n\n"
    "Write the product a b, (M, N) float32, in block fixed point of 16 bits. a is (M, K), or (K, M) if it is\n"
    "transposed; b is (K, N), or (N, K).";

PyObject *get_fixed_point_product(PyObject *self, PyObject *args)
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

