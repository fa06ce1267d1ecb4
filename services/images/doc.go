// Package images is the registry of container images for an installation of
// several hosts: builders push to it, hosts pull from it by digest.
//
// It owns what is below "images/" in the platform's bucket, in the layout of the
// distribution project, whose server it embeds. Builders call it, and the
// component host of every node for its Docker (package mirror); both by HTTPS
// with the platform's certificates, which say who may do what. It calls nobody.
//
// A tag names a revision, and keeps its image. What no tag leads to is swept when
// it is old. Table images.sweeps says when that was last done. The states of
// uploads are signed with a key in mac_keys, so that any instance goes on with
// one.
package images
