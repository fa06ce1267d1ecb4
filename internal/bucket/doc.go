// Package bucket erases folders of the platform's bucket.
package bucket
