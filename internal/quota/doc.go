// Package quota says to clients which limit stands in the way of a call, and
// when to try again: in the headers of an HTTP answer, and in the trailers of a
// gRPC one.
package quota
