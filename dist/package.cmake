# The Debian package, by CPack: scripts/package.sh makes it. Its scripts are in dist/debian.
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGE_NAME esclusa)
set(CPACK_PACKAGE_VENDOR esclusa)
set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "TLS egress gateway: plaintext in, verified TLS out")
set(CPACK_DEBIAN_PACKAGE_DESCRIPTION
    "esclusa takes plain connections of programs that speak no TLS, connects to
the upstream that is configured for them, verifies its certificate chain
and name, and relays both ways. No byte goes out before that. It ends TLS
of consumers as well, and re-encrypts.
.
The service starts with an example that listens on loopback alone;
what it is to do is said in /etc/esclusa/esclusa.cfg.")
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_STRIP_FILES ON)
set(CPACK_MONOLITHIC_INSTALL ON)

set(ESCLUSA_MAINTAINER "esclusa maintainers <esclusa@packages.invalid>"
    CACHE STRING "Maintainer of the Debian package")
set(CPACK_DEBIAN_PACKAGE_MAINTAINER ${ESCLUSA_MAINTAINER})
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
set(CPACK_DEBIAN_PACKAGE_SECTION net)
set(CPACK_DEBIAN_PACKAGE_PRIORITY optional)
# The libraries are found by dpkg-shlibdeps. The system store is what most services verify against;
# the last three make the user.
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_DEPENDS
    "ca-certificates, init-system-helpers (>= 1.54~), systemd | systemd-standalone-sysusers | systemd-sysusers"
)
set(CPACK_DEBIAN_PACKAGE_SUGGESTS logrotate)
set(CPACK_DEBIAN_PACKAGE_CONTROL_EXTRA
    ${dist_source}/debian/postinst ${dist_source}/debian/prerm ${dist_source}/debian/postrm
    ${dist_source}/debian/conffiles)
set(CPACK_DEBIAN_PACKAGE_CONTROL_STRICT_PERMISSION ON)
set(CPACK_PRE_BUILD_SCRIPTS ${dist_source}/debian/stage.cmake)
set(ESCLUSA_SOURCE ${PROJECT_SOURCE_DIR})
set(CPACK_PROJECT_CONFIG_FILE ${dist_made}/cpack-project.cmake)
file(WRITE ${CPACK_PROJECT_CONFIG_FILE} "set(ESCLUSA_SOURCE \"${PROJECT_SOURCE_DIR}\")\n")
include(CPack)
