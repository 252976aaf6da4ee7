# make install: lays the C library out as distributions do, below DESTDIR if that is given. STRIP=: keeps the debug
# information. make uninstall with the same settings removes what was laid, and nothing else.

LIBDIR ?= $(PREFIX)/lib
INCLUDEDIR ?= $(PREFIX)/include
MANDIR ?= $(PREFIX)/share/man
STRIP ?= strip
# What a program that links libatomkv.a needs besides: what rustc says it is, which the tests compare.
STATIC_LIBS := -lgcc_s -lutil -lrt -lpthread -lm -ldl -lc

# A path with a blank would be two: what lies under the first of them would be overwritten, or removed.
ifneq ($(filter install uninstall install-list,$(MAKECMDGOALS)),)
$(foreach setting,DESTDIR PREFIX LIBDIR INCLUDEDIR MANDIR,$(if $(filter-out 1,$(words x$($(setting))x)),\
	$(error $(setting) holds a blank: "$($(setting))". Nothing was done; choose a path without)))
endif

PKGCONFIGDIR := $(LIBDIR)/pkgconfig
CMAKEDIR := $(LIBDIR)/cmake/atomkv
INSTALL_HEADERS := $(notdir $(wildcard include/atomkv.*))
INSTALL_MANUALS := $(notdir $(wildcard atomkv-ffi/man/*.3))
INSTALLED := $(addprefix $(INCLUDEDIR)/,$(INSTALL_HEADERS)) $(addprefix $(MANDIR)/man3/,$(INSTALL_MANUALS)) \
	$(addprefix $(LIBDIR)/,libatomkv.so.$(VERSION) libatomkv.so.$(ABI) libatomkv.so libatomkv.a) \
	$(PKGCONFIGDIR)/atomkv.pc $(CMAKEDIR)/atomkv-config.cmake $(CMAKEDIR)/atomkv-config-version.cmake

EMPTY :=
SPACE := $(EMPTY) $(EMPTY)
INSTALL_FILL = sed -e 's|@PREFIX@|$(PREFIX)|' -e 's|@VERSION@|$(VERSION)|g' -e 's|@ABI@|$(ABI)|g' \
	-e 's|@LIBDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(LIBDIR))|' \
	-e 's|@INCLUDEDIR@|$(patsubst $(PREFIX)/%,$${prefix}/%,$(INCLUDEDIR))|' \
	-e "s|@INCLUDEDIR_RELATIVE@|$$(realpath -m --relative-to='$(CMAKEDIR)' '$(INCLUDEDIR)')|" \
	-e 's|@STATIC_LIBS@|$(STATIC_LIBS)|' -e 's|@STATIC_LIBS_CMAKE@|$(subst $(SPACE),;,$(STATIC_LIBS))|' \
	-e "s|@POINTER_BYTES@|$$(($$(getconf LONG_BIT) / 8))|g" \
	-e "s|@URL@|$$(sed -n 's/^repository = \"\(.*\)\"/\1/p' Cargo.toml)|"

# What `make lib` has built is laid as it is, so that root needs no Rust. It is built first where it is not there, or
# was last asked for before a source was changed: what cargo leaves as it is stays older.
install:
	@[ -e $(RELEASE)/libatomkv.a ] && [ -e $(RELEASE)/libatomkv.so ] && [ -z "$$(find Cargo.toml Cargo.lock \
		atomkv-engine/Cargo.toml atomkv-engine/src atomkv-ffi/Cargo.toml atomkv-ffi/build.rs atomkv-ffi/src \
		-type f -newer $(RELEASE)/libatomkv.built 2>&1 | head -n 1)" ] || $(MAKE) --no-print-directory lib
	install -d $(addprefix $(DESTDIR),$(INCLUDEDIR) $(PKGCONFIGDIR) $(CMAKEDIR) $(MANDIR)/man3)
	install -m 644 $(addprefix include/,$(INSTALL_HEADERS)) $(DESTDIR)$(INCLUDEDIR)/
	install -m 755 $(RELEASE)/libatomkv.so $(DESTDIR)$(LIBDIR)/libatomkv.so.$(VERSION)
	$(STRIP) --strip-unneeded $(DESTDIR)$(LIBDIR)/libatomkv.so.$(VERSION)
	ln -sf libatomkv.so.$(VERSION) $(DESTDIR)$(LIBDIR)/libatomkv.so.$(ABI)
	ln -sf libatomkv.so.$(ABI) $(DESTDIR)$(LIBDIR)/libatomkv.so
	install -m 644 $(RELEASE)/libatomkv.a $(DESTDIR)$(LIBDIR)/
	$(STRIP) --strip-debug $(DESTDIR)$(LIBDIR)/libatomkv.a
	@$(INSTALL_FILL) atomkv-ffi/package/atomkv.pc.in >$(DESTDIR)$(PKGCONFIGDIR)/atomkv.pc
	@for file in atomkv-config.cmake atomkv-config-version.cmake; do \
		$(INSTALL_FILL) atomkv-ffi/package/$$file.in >$(DESTDIR)$(CMAKEDIR)/$$file || exit 1; done
	@for page in $(INSTALL_MANUALS); do \
		$(INSTALL_FILL) atomkv-ffi/man/$$page >$(DESTDIR)$(MANDIR)/man3/$$page || exit 1; done
	@chmod 644 $(addprefix $(DESTDIR),$(filter-out $(LIBDIR)/libatomkv.so%,$(INSTALLED)))

uninstall:
	rm -f $(addprefix $(DESTDIR),$(INSTALLED))
	@rmdir $(DESTDIR)$(CMAKEDIR) 2>/dev/null || :

# For the tests: the names of what install lays, and what it says about static linking.
install-list:
	@printf '%s\n' $(INSTALLED)

install-static-libs:
	@echo '$(STATIC_LIBS)'

.PHONY: install uninstall install-list install-static-libs
